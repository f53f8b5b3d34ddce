"""What operators and developers use beside the calls and pages. ``optin`` imports nothing of it.

``rehearsals``  scripted attacks against the settings in force (``manage limits rehearse``)
``replay``      recorded requests for texts, decided again with other limits
``guesses``     the chance that somebody guesses a code, by the settings
``lint``        what is wrong with the words, the sender and the price of texts
``routes``      what texts to a country need, such as ``senders``
``promises``    the page of staff that shows what the settings allow
``demo``        the month of history that a development start shows
"""
