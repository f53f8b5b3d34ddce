"""Check any server against the wire contract, from outside: ``python -m conformance BASE_URL``.

With ``--serve`` it is a strict server, and checks clients.

The package knows docs/contract.md and imports nothing of the service, so that it judges the
service as it judges any other server.

    ``options``    what a run is told: the options, and the file of them
    ``wire``       requests and answers, as bytes
    ``goldens``    the contract as tables: calls, models, codes, sentences, links, headers
    ``session``    one run: sends, remembers every answer, notes what deviates
    ``registry``   all checks
    ``checks``     the checks: one module for each section of the report
    ``report``     the table for people, and JUnit's XML for machines
    ``secrets``    keeps keys, tokens, codes and numbers out of what is printed
    ``simulator``  reads the texts of a development start
    ``server``     the strict server
"""
