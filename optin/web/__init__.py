"""The pages for people: sign-in, the second factor, the account; and the pages for monitoring.

A view reads a form, calls one operation and presents its result. Views make no decisions about
codes, texts or accounts. The pages for staff are in ``admin``.
"""
