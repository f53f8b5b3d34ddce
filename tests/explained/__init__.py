"""G-07: one explanation for three readers."""
