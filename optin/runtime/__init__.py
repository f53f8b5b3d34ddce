"""Logs, metrics, password-hashing threads, request limits, redirects, workers'
connections and metrics.

It knows nothing of second factors, and stores nothing in the database.
"""
