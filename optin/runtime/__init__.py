"""Logs, metrics, turns to hash passwords, request limits, and redirects.

It knows nothing of second factors, and stores nothing in the database.
"""
