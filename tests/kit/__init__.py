"""What the tests of several folders use.

People and phones:
    ``people``      numbers, passwords, the moment of the tests; make somebody
    ``phone``       what stands in for gateways and handsets
    ``apps``        set up authenticator apps and recovery codes
    ``staff``       staff of each role, every address of the admin, and who may have it
    ``office``      what staff look at: one row of every kind
    ``world``       one person at the operations, and that nothing happens

Ways in:
    ``clients``     the API and the token calls
    ``oauth``       the endpoints below /o/, and the consent page
    ``browser``     a browser without scripts, and the pages for people
    ``chromium``    a real browser, and a server for it
    ``commands``    the commands for operators
    ``server``      the service in processes of its own
    ``quick_settings``  settings of a server with quick password hashes
    ``haproxy``     two of them, behind HAProxy
    ``wire``        a server of somebody else, which may do anything
    ``certificates``  an authority that only the tests believe
    ``races``       calls that start together

What is written:
    ``trail``       the audit trail
    ``logs``        the lines of the log
    ``documents``   the documents
"""
