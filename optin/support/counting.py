"""What is counted in one span of time: opt-ins, texts, locks, refusals.

Each count reads no more than its span, by an index. ``statistics`` says when, and keeps it.
"""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from itertools import compress

from django.db import models
from django.db.models import Count, Exists, F, OuterRef, Q, Sum
from django.db.models.functions import Coalesce

from optin import keys, limits
from optin.conf import conf
from optin.models import (
    AuditEvent,
    FactorCount,
    Figure,
    Membership,
    PendingOtp,
    Purpose,
    RefusalCount,
    SendCounter,
    SmsMessage,
    Span,
)
from optin.models.factors import kinds_of
from optin.models.messages import State
from optin.outcomes import WITHHELD, SendOutcome

SHOWN_AT_MOST = 20
"""Files that a span keeps, and that are shown: those with most texts."""

What = Figure.What


def figures_of(span: Span, now: datetime) -> Iterator[Figure]:
    for count in (_opt_ins, _texts, _files, _gateways, _countries, _decisions):
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


def _sent_in(span: Span) -> "models.QuerySet[SmsMessage]":
    return SmsMessage.objects.filter(_within(span, "created_at")).exclude(state=State.WITHHELD)


_COUNTS_FOR_BUDGET = Q(pending_otp__purpose__in=[Purpose.OPT_IN, Purpose.OPT_OUT])
"""The texts that ``OPTIN_SENDS_TOTAL`` and ``OPTIN_SENDS_PER_FILE`` count."""


def _texts(span: Span, now: datetime) -> Iterator[Figure]:
    """Texts by state, and those that count for the budget, with their cost."""
    own = _COUNTS_FOR_BUDGET
    found = (
        _sent_in(span)
        .values_list("state")
        .annotate(
            n=Count("pk"),
            price=Sum("cost"),
            budget=Count("pk", filter=own),
            budget_price=Sum("cost", filter=own, default=Decimal(0)),
        )
        .order_by()
    )
    budget = Figure(what=What.BUDGET, count=0)
    for state, count, cost, of_budget, of_cost in found:
        yield Figure(what=What.TEXT, name=state, count=count, cost=cost)
        budget.count, budget.cost = budget.count + of_budget, budget.cost + of_cost
    yield budget


def texts_since(start: datetime) -> dict[str, int]:
    """Return how many ``texts`` there were, to how many ``people``, and ``opting`` in or out."""
    whose = Coalesce("pending_otp__provider_user__user", "news_to__user")
    texts = SmsMessage.objects.filter(created_at__gte=start).exclude(state=State.WITHHELD)
    return texts.aggregate(
        texts=Count("pk"),
        opting=Count("pk", filter=_COUNTS_FOR_BUDGET),
        people=Count(whose, distinct=True),
    )


def _files(span: Span, now: datetime) -> Iterator[Figure]:
    texts = _sent_in(span).filter(_COUNTS_FOR_BUDGET, pending_otp__file__isnull=False)
    most = texts.values_list("pending_otp__file").annotate(n=Count("pk"), price=Sum("cost"))
    for file_id, count, cost in most.order_by("-n", "pending_otp__file")[:SHOWN_AT_MOST]:
        yield Figure(what=What.FILE, name=str(file_id), count=count, cost=cost)


def _gateways(span: Span, now: datetime) -> Iterator[Figure]:
    """Texts of opt-ins; a verified code counts for its newest text."""
    newer = SmsMessage.objects.exclude(state=State.WITHHELD).filter(
        pending_otp=OuterRef("pending_otp"), pk__gt=OuterRef("pk")
    )
    verified_by_it = Q(
        ~Exists(newer),
        pending_otp__closed_as=PendingOtp.Closed.VERIFIED,
        pending_otp__provider_user__verified_at__gte=F("pending_otp__closed_at"),
    )
    found = (
        _sent_in(span)
        .filter(pending_otp__purpose=Purpose.OPT_IN)
        .values_list("gateway")
        .annotate(n=Count("pk"), n_verified=Count("pk", filter=verified_by_it))
        .order_by()
    )
    for gateway, count, verified in found:
        yield Figure(what=What.GATEWAY, name=gateway, count=count, verified=verified)


def _countries(span: Span, now: datetime) -> Iterator[Figure]:
    # Their names stand in no row; there are few.
    names = {keys.digest("counter", region): region for region in conf.sms_regions}
    others = Figure(what=What.COUNTRY, count=0, verified=0)
    # What ``limits`` counted against pumping in the windows that began in *span*: as the partial
    # index of the table has it.
    begun = SendCounter.objects.filter(
        _within(span, "window_start"), scope__startswith=f"{limits.Rule.REGION}/"
    )
    counts = begun.values_list("key").annotate(n=Sum("count"), n_verified=Sum("verified"))
    for key, count, verified in counts.order_by():
        if key in names:
            yield Figure(what=What.COUNTRY, name=names[key], count=count, verified=verified)
        else:
            others.count, others.verified = others.count + count, others.verified + verified
    yield others


def _decisions(span: Span, now: datetime) -> Iterator[Figure]:
    """Figures that only the audit trail tells."""
    found = AuditEvent.objects.filter(_within(span, "at")).aggregate(
        locked=Count("pk", filter=Q(outcome="otp_incorrect", data__has_key="locked_until")),
        disabled=Count("pk", filter=Q(outcome="otp_incorrect", data__has_key="disabled")),
        refused=Count(
            "pk",
            filter=Q(outcome__in=[SendOutcome.SEND_LIMIT, WITHHELD]) & ~Q(data__has_key="repeated"),
        ),
    )
    # Repeats within an hour have no event each; they count where the first one does.
    repeats = RefusalCount.objects.filter(_within(span, "first_at"), outcome=SendOutcome.SEND_LIMIT)
    repeated = repeats.aggregate(n=Sum(F("count") - 1, default=0))["n"]
    yield Figure(what=What.LOCK, name="locked", count=found["locked"])
    yield Figure(what=What.LOCK, name="disabled", count=found["disabled"])
    yield Figure(what=What.REFUSED, count=found["refused"] + repeated)


def factors_on(day: date) -> Iterator[FactorCount]:
    """Count the members of each file, but for sandboxes, by their second factors."""
    kinds = kinds_of("user_id")
    members = Membership.objects.filter(
        active=True, user__is_active=True, file__active=True, file__is_sandbox=False
    )
    found = members.annotate(**kinds).values_list("file_id", *kinds).annotate(n=Count("pk"))
    counts: dict[int, FactorCount] = {}
    for file_id, *has, n in found.order_by():
        row = counts.setdefault(file_id, FactorCount(file_id=file_id, day=day))
        names = [*compress(kinds, has)]
        name = "several" if len(names) > 1 else next(iter(names), "none")
        setattr(row, name, getattr(row, name) + n)
    yield from counts.values()
