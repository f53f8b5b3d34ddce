"""The deployment of ``deploy/ha`` on one machine, under load, while its parts fail.

``machines`` makes machines out of namespaces. ``cluster`` says what runs on which. ``load`` does
what clients do, and remembers what was acknowledged. ``faults`` breaks something, and ``proof``
compares.
"""
