"""The audit trail after it is written: seal it, check it, search it, and count repeated refusals.

Writing an event is in ``models.audit``, and every operation does it. What staff read of it, in
words, is in ``support``.
"""
