"""What is counted in one span of time: opt-ins, texts, locks.

Each count reads no more than its span, by an index. ``statistics`` says when, and keeps it.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Coalesce

from optin.conf import conf
from optin.models import (
    AuditEvent,
    Figure,
    PendingOtp,
    Purpose,
    SmsMessage,
    Span,
)
from optin.models.messages import State

What = Figure.What


def figures_of(span: Span, now: datetime) -> Iterator[Figure]:
    for count in (_opt_ins, _budget, _locks):
        for figure in count(span, now):
            if figure.count:
                figure.span, figure.day = span, span.day
                yield figure


def _within(span: Span, field: str) -> Q:
    return Q(**{f"{field}__gte": span.start, f"{field}__lt": span.end})


_WAS_VERIFIED = Q(
    closed_as=PendingOtp.Closed.VERIFIED, provider_user__verified_at__gte=F("closed_at")
)
"""The code was right, and the number not somebody else's."""


def _opt_ins(span: Span, now: datetime) -> Iterator[Figure]:
    """Opt-ins by what became of them: each by its last code, when that was made."""
    codes = PendingOtp.objects.filter(_within(span, "issued_at"), purpose="opt_in")
    waiting = Q(closed_at=None, expires_at__gt=now, tries__lt=conf.otp_tries)
    found = codes.exclude(closed_as=PendingOtp.Closed.SUPERSEDED).aggregate(
        all=Count("pk"),
        verified=Count("pk", filter=_WAS_VERIFIED),
        waiting=Count("pk", filter=waiting),
    )
    failed = found["all"] - found["verified"] - found["waiting"]
    yield Figure(what=What.OPT_IN, name="proved", count=found["verified"])
    yield Figure(what=What.OPT_IN, name="waiting", count=found["waiting"])
    yield Figure(what=What.OPT_IN, name="failed", count=failed)


_COUNTS_FOR_BUDGET = Q(pending_otp__purpose__in=[Purpose.OPT_IN, Purpose.OPT_OUT])
"""The texts that ``OPTIN_SENDS_TOTAL`` and ``OPTIN_SENDS_PER_FILE`` count."""


def _budget(span: Span, now: datetime) -> Iterator[Figure]:
    """Texts that count for the budget, with their cost."""
    found = (
        SmsMessage.objects.filter(_COUNTS_FOR_BUDGET, _within(span, "created_at"))
        .exclude(state=State.WITHHELD)
        .aggregate(count=Count("pk"), cost=Sum("cost", default=Decimal(0)))
    )
    yield Figure(what=What.BUDGET, **found)


def texts_since(start: datetime) -> dict[str, int]:
    """Return how many ``texts`` there were, to how many ``people``, and ``opting`` in or out."""
    whose = Coalesce("pending_otp__provider_user__user", "news_to__user")
    texts = SmsMessage.objects.filter(created_at__gte=start).exclude(state=State.WITHHELD)
    return texts.aggregate(
        texts=Count("pk"),
        opting=Count("pk", filter=_COUNTS_FOR_BUDGET),
        people=Count(whose, distinct=True),
    )


def _locks(span: Span, now: datetime) -> Iterator[Figure]:
    found = AuditEvent.objects.filter(_within(span, "at"), outcome="otp_incorrect").aggregate(
        locked=Count("pk", filter=Q(data__has_key="locked_until")),
        disabled=Count("pk", filter=Q(data__has_key="disabled")),
    )
    yield Figure(what=What.LOCK, name="locked", count=found["locked"])
    yield Figure(what=What.LOCK, name="disabled", count=found["disabled"])
