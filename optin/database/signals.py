"""What the backend tells."""

from django.dispatch import Signal

connection_taken = Signal()
"""Sent when a thread has asked for a connection, with the *seconds* that it waited, and whether one
was *found*."""
