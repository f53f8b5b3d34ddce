"""Opting people in to two-factor authentication by SMS.

The map, from the ground up; a module imports its own level or a lower one:

words and pure functions (no database, no HTTP)
    ``errors``    refusals: the reasons why an operation did nothing
    ``conf``      every setting: name, type, default, unit, source
    ``phones``    parse, normalise and mask numbers
    ``keys``      the key ring: derive, encrypt, digest
    ``codes``     one-time codes: derive, compare
    ``origin``    who asked for an operation, and from where
    ``logs``      what a log line holds, and what it never does
    ``metrics``   what is counted
    ``hashing``   hash passwords, a bounded number at once
    ``smtp``      the mail server, which may take so long and no longer
    ``postman``   a thread for what no request waits for
    ``throttle``  the courtesy limits on requests
    ``waiting``   a worker's connections, which wait for the database

rows
    ``models``    what is stored, and what the database itself guarantees

the way out
    ``gateways``  one small module per SMS gateway
    ``wording``   what texts and mails say
    ``delivery``  send one message and record what became of it
    ``receipts``  what gateways report of the texts that they took
    ``limits``    who may be sent how many messages
    ``alarms``    tell the operators at once

the operations
    ``guesses``   one guess at a code: read, judge, count
    ``services``  everything that changes state: one function, one transaction,
                  one audit event
    ``passwords`` one try of a password, a new one, a lost one
    ``authenticators``  apps, recovery codes, turning it all off, "this was not me"
    ``sign_in``   sessions and tokens
    ``revocations``  what support asks to remove: planned, called off, carried out
    ``staff``     what each role may do, and on whom
    ``tenants``   files, members and access keys
    ``guards``    what staff decide about texts: the stop, prefixes, lists
    ``rotation``  whether the keys are the right ones; new keys in place of old
    ``seals``     seals over the audit trail
    ``audit_check``  what was changed, removed, added or copied in it
    ``refusals``  those that repeat: told once an hour, read as one line
    ``figures``   how much there was of what, kept for the home page of staff
    ``upkeep``    what is deleted in time, and erasing a person

what staff read of it
    ``timeline``  what happened to one account, in one list
    ``trail``     the events that are asked for, page by page
    ``diagnosis`` why no text came, why somebody cannot sign in: the causes
    ``staff_words``  decisions and outcomes in words

the faces (parse, call one operation, present)
    ``api``       the wire contract
    ``web``       the pages for people
    ``admin``     the pages for staff
    ``management`` commands for operators
    ``tasks``     what workers do: send, and all that is done regularly

The path of one request to verify a code: ``twofa_site.urls`` -> ``api.views``
(``VerifyView``) -> ``services.verify_opt_in`` -> ``guesses.judge_opt_in`` -> commit.
"""
