"""What operators and developers run beside the service. It imports ``optin``, never the reverse.

``rehearsals``  scripted attacks against the settings in force (``manage rehearse``)
``replay``      recorded requests for texts, decided again with other limits
``guesses``     the chance that somebody guesses a code, by the settings
``lint``        what is wrong with the words, the sender and the price of texts
``promises``    the page of staff that shows what the settings allow
``demo``        the month of history that a development start shows
"""
