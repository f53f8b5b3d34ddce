"""The mail server: it takes mails from us."""

import smtplib
import ssl
from collections.abc import Iterator

from django.conf import settings

from optin.doctor.findings import Finding, fault, skipped
from optin.doctor.net import Place, Unreachable
from optin.messaging import delivery
from optin.support.wording import section

_MAIL = section("people", "Mails to people")


def leaves() -> Iterator[Finding]:
    """The mail server answers, with TLS, and accepts the password."""
    if not settings.SENDS_MAIL:
        yield skipped("EMAIL_URL is not set: no mail is sent.")
        return
    server = delivery.mail_server()
    place = Place(server.host, server.port)
    try:
        place.connect().close()
    except Unreachable as exc:
        yield fault(f"The mail server cannot be reached. {exc}", do=f"Check EMAIL_URL. {_MAIL}")
        return
    try:
        server.open()
    except smtplib.SMTPAuthenticationError as exc:
        yield _refuses(place, "name and password", f"answered {exc.smtp_code} to the login")
    except ssl.SSLError:
        yield _refuses(place, "TLS, or has a certificate that nobody vouches for", "broke off TLS")
    except smtplib.SMTPResponseException as exc:
        yield _refuses(place, "the connection", f"answered {exc.smtp_code}")
    except OSError as exc:
        # Smtplib raises an error of its own while it handles that of the socket.
        if isinstance(exc, TimeoutError) or isinstance(exc.__context__, TimeoutError):
            yield fault(
                f"The mail server {place} takes the connection, but is silent: no mail leaves.",
                do="Check the port in EMAIL_URL: submission:// is for 587. At 465, TLS comes "
                "first: smtp://...:465?ssl=True. If that is right, look at the mail server, and at "
                f"a firewall on the way. {_MAIL}",
            )
            return
        yield _refuses(place, "the connection", f"broke off ({type(exc).__name__})")
    else:
        server.close()


def _refuses(place: Place, what: str, how: str) -> Finding:
    return fault(
        f"The mail server {place} refuses {what}: no mail leaves.",
        seen=f"It {how}.",
        do=f"Check EMAIL_URL (percent-encode signs in the password). {_MAIL}",
    )
