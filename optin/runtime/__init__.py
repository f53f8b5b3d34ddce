"""Logs, metrics, password-hashing threads, request limits and the workers' database connections.

It knows nothing of second factors, and stores nothing in the database.
"""
