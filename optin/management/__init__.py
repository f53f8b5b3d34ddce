"""Commands for operators (``manage.py``): each parses its arguments and calls one operation."""
