"""Everything that changes the state of an account, a second factor, a file or a setting of staff.

Each operation takes plain values and domain objects and returns a frozen result. Each is one
durable transaction: lock the user, read, decide in a pure function, write, record one audit event,
commit. So guesses at one user's codes queue up, no answer leaves before the commit that counted it,
and no event stands without its change.

Malformed input, and a caller who was deactivated meanwhile, raise an exception (``errors``) and
leave nothing behind. A decision is returned (``outcomes``): an exception would roll back the count
and the audit event. How a request is parsed and an answer is presented is not here: the faces do
that.
"""
