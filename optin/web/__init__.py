"""The pages for people: sign-in, the second factor, the account; and the pages for monitoring.

A view reads a form, calls one operation and presents its result: no decision about a code, a text
or an account is made here. The pages for staff are in ``admin``.
"""
