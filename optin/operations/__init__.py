"""Everything that changes an account, a second factor, a file, or what staff decided.

Each operation takes plain values and domain objects and returns a frozen result. Most are one
durable transaction: lock the user, read, decide in a pure function, write, record one audit event,
commit. (Tries of a password, password resets, purging and key rotation take several.) So attempts
at one user's codes wait for each other, no answer leaves before the commit that counted the
attempt, and an event is saved together with its change.

If the input is malformed, an operation raises an exception (``errors``) and stores nothing. Those
of staff raise ``UnfitReason`` if ``fit_reason`` refuses the reason, and ``Deactivated`` if whoever
asks is no longer staff. A decision is returned (``outcomes``): an exception would roll back the
count and the audit event. The faces parse requests and present answers.
"""
