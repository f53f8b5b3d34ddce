"""The wire contract: the calls in JSON and XML, token calls, OAuth 2, ``/Help`` and ``/schema/``.

``docs/contract.md`` describes it. A view reads a request, calls one operation and presents its
result: no decision about a code, a text or an account is made here.
"""
