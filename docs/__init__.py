"""The documents, and the script that writes parts of them from the code."""
