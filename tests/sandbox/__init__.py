"""Sandboxes: their numbers, what these do, and what does not leave them."""
