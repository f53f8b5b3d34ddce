"""What staff read when somebody calls: a timeline, likely causes, statistics, and their wording.

Nothing here changes anything but the statistics, which are sums of the audit trail. Pages are in
``admin``; what staff can do is in ``operations``.
"""
