"""What staff read when somebody calls: a timeline, likely causes, statistics, and their wording.

Nothing here changes the state of an account. Only ``statistics`` writes: it keeps the figures that
it has counted. Pages are in
``admin``; what staff can do is in ``operations``.
"""
