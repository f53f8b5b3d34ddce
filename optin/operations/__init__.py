"""Everything that changes the state of an account, a second factor, a file or a setting of staff.

Each operation takes plain values and domain objects and returns a frozen result. Nearly each is one
durable transaction (purging, key rotation and password resets take several): lock the user, read,
decide in a pure function, write, record one audit event, commit. So guesses at one user's codes
queue up, no answer leaves before the commit that counted it, and an event and its change are saved
together.

If the input is malformed, or the caller was deactivated meanwhile, an operation raises an exception
(``errors``) and stores nothing. A decision is returned (``outcomes``): an exception would roll back
the count and the audit event. How a request is parsed and an answer is presented is not here: the
faces do that.
"""
