"""Texts and mails: write them, send them, and record what became of them.

``delivery`` is the one way to send something, ``handover`` hands a text to a gateway, and
``receipts`` reads what gateways report, from which ``waits`` tells how long texts take. How many
texts may be sent is in ``limits``, how to talk to a gateway in ``gateways``, and who may ask for a
text in ``operations``.
"""
