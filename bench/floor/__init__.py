"""A lean site, which nothing of this service is part of: what a call costs at least.

Django with its two standard middlewares, and a constant answer behind django-oauth-toolkit.
"""
