"""Statements that Django compiles once, and that share a round trip to PostgreSQL.

``statements`` compiles querysets once, ``operation`` decides which statements go together, and the
rest is Django's backend for PostgreSQL, with a pipeline and a pool.

The switch is ``ENGINE`` in the settings: with Django's own backend, each statement takes a round
trip of its own, as on SQLite. It uses private interfaces of Django and psycopg: ``tests/site``
and every test on PostgreSQL fail if a new release lacks one.
"""
