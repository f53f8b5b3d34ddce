"""Logs, metrics, password-hashing threads, request limits, redirects, and workers'
connections.

It knows nothing of second factors, and stores nothing in the database.
"""
