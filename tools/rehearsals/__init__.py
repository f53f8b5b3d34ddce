"""Attack rehearsals: a scripted attack and honest people, against the settings in force.

``python manage.py limits rehearse`` plays them in a process of its own, with the settings of
``tools.rehearsals.settings``: a database in a folder that goes at the end, and a gateway in memory.
"""
