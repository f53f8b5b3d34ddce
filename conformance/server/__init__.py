"""A strict server for testing clients: ``python -m conformance --serve``.

It answers as docs/contract.md says, and tells what was wrong with each request. It keeps its
people in memory, and sends no text: it prints them.

    ``bodies``   the body of a request as properties
    ``visits``   one request, and all that is wrong with it
    ``people``   the people, their credentials and their codes
    ``calls``    what each call decides
    ``oauth``    the little of ``/o/`` that the kit looks at
    ``answers``  answers, as bytes
    ``door``     the way in, and what is printed
"""
