"""The service on several machines, any of which may fail. See README.md."""
