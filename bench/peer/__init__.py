"""The same journey as django-otp and django-oauth-toolkit are put together for it.

It is the floor's site, and what the guides of both packages say. It has django-otp's throttling. It
has no lock, audit event, limit on texts, mail or log, because neither package has.
"""
