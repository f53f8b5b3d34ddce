"""Texts and mails: write them, limit them, send them, and record what became of them.

``delivery`` is the one way to send something, ``limits`` decides whether a text may be sent, and
``receipts`` reads what gateways report. How to talk to a gateway is in ``gateways``; who may ask
for a text is in ``operations``.
"""
