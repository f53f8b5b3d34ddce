"""What the process itself needs: log lines, metrics, threads for password hashes, request limits.

It knows nothing of second factors, and stores nothing in the database.
"""
