"""What operators and developers use beside the calls and pages. ``optin`` imports nothing of it.

``lint``        what is wrong with the words, the sender and the price of texts
``routes``      what texts to a country need, such as ``senders``
``demo``        the month of history that a development start shows
"""
