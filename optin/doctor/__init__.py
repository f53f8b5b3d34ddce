"""The doctor: is this installation in order, and what is to be done if not?

``running`` has the checks in their order, and runs them. Each is a function that returns findings
(``findings``). A check leaves nothing behind; what its Django checks write is in docs/run.md.
"""
