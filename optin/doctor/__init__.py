"""The doctor: what neither `check --deploy` nor `/readyz` can see of an installation.

Each module looks at one thing, and yields findings (``findings``). ``running`` has the list, and
runs it. A check leaves nothing behind.
"""
