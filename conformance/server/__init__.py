"""A strict server for testing clients: ``python -m conformance --serve``.

It answers as docs/contract.md says, and prints what was wrong with each request. It keeps its
people in memory. It sends no texts, but prints them.

    ``bodies``   the body of a request as properties
    ``visits``   one request, and all its faults
    ``people``   the people, their credentials and their codes
    ``calls``    what each call decides
    ``oauth``    the part of ``/o/`` that the kit checks
    ``answers``  answers as bytes
    ``door``     the HTTP server, and what it prints
"""
