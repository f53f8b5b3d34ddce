"""Statements that Django writes once, and that share a round trip to PostgreSQL.

``statements`` compiles querysets once, ``operation`` decides which statements go together, and the
rest is Django's backend for PostgreSQL with a pipeline and a pool.
"""
