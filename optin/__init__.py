"""Opting people in to two-factor authentication by SMS.

The map, lowest level first. A module imports its own level or a lower one;
``tests/test_layers.py`` checks this.

Values and pure functions (no database, no HTTP):
    ``errors``      why an operation did nothing: raised
    ``outcomes``    what an operation decided: returned, stored and sent
    ``events``      all that is said of each event of the audit trail: one row each
    ``causes``      why somebody got no text, or cannot come in: named, for staff and clients
    ``conf``        every setting: name, type, default, unit, source
    ``phones``      parse, normalise and mask numbers
    ``fiction``     the numbers that nobody has
    ``sandbox``     what happens to such a number in a sandbox, by its last digits
    ``keys``        the key ring: derive, encrypt, digest
    ``codes``       one-time codes: derive, compare (lifetime and tries: ``conf.codes``)
    ``passkeys``    passkeys: what a browser is asked, and what it answers
    ``hashes``      passwords of other systems: read their hashes, check, wrap what is fast
    ``origin``      who asked for an operation, and from where

The process:
    ``runtime``     log lines, metrics, turns to hash passwords, request limits
    ``database``    connections, and statements that share a round trip

What is stored:
    ``models``      the tables, and what the database itself guarantees
    ``migrations``  the steps that make the tables

The ways out, the limits and the audit trail:
    ``gateways``    one small module for each SMS gateway
    ``audit``       seal, check and search the audit trail
    ``limits``      count texts, sign-ins and searches, and refuse what is too many
    ``messaging``   send texts and mails

What staff read:
    ``support``     what happened to an account, why a text did not arrive, statistics

What changes state:
    ``operations``  one function, one transaction, one audit event

What looks at the whole installation:
    ``doctor``      one check for each thing that can be wrong, and what to do

What staff and operators can ask for:
    ``actions``     one declaration each, from which a page of the admin and a command are made

The faces (parse, call one operation, present). They never import each other:
    ``api``         the wire contract
    ``web``         the pages for people
    ``admin``       the pages for staff
    ``management``  commands for operators
    ``tasks``       what workers do: send, and all that is done regularly

The start:
    ``checks``      what is wrong with the settings
    ``apps``        what Django loads first

The path of one request to verify a code: ``twofa_site.urls`` -> ``api.views``
(``VerifyView``) -> ``operations.opt_ins.verify_opt_in`` ->
``operations.verification.judge_opt_in`` -> commit.
"""
