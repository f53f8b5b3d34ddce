"""The wire contract: the calls in JSON and XML, token calls, OAuth 2, ``/Help`` and ``/schema/``.

``docs/contract.md`` describes it. A view reads a request, calls one operation and presents its
result. Views make no decisions about codes, texts or accounts.
"""
