"""From one gateway to the next: in order, in time, and never sent blindly twice."""

import socket
import threading
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from optin import gateways
from optin.gateways import Http, SmsError
from optin.messaging import delivery
from optin.models import File, GatewayHealth, GatewayTry, Guard, SmsMessage, User
from optin.models.messages import LEASE, TRIPPED_FOR, TRIPS_AT, State
from optin.operations import opt_ins
from optin.outcomes import SendOutcome
from tests.kit.gateways import made
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import AWAY, ELSEWHERE, REFUSED, SILENT, STOPPED, Gateways, Stub
from tests.kit.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def newest() -> SmsMessage:
    return SmsMessage.objects.latest("pk")


def ask(world: World) -> SmsMessage:
    world.clock.shift(121)
    assert world.ask().outcome in {SendOutcome.SENT, SendOutcome.RESENT}
    return newest()


# -- what each fate leads to -------------------------------------------------------


@pytest.mark.parametrize(
    ("fails", "state", "next_was_asked"),
    [
        pytest.param(AWAY, State.SENT, True, id="away"),
        pytest.param(ELSEWHERE, State.SENT, True, id="not-for-this-number"),
        pytest.param(SILENT, State.SENT, True, id="silent"),
        pytest.param(RuntimeError("bug"), State.SENT, True, id="bug"),
        pytest.param(SmsError("bug", "timeout"), State.SENT, True, id="no-such-fate"),  # type: ignore[arg-type]
        pytest.param(REFUSED, State.FAILED, False, id="refused"),
        pytest.param(STOPPED, State.FAILED, False, id="opted-out"),
    ],
)
def test_what_comes_of_each_fate(
    world: World, use: Gateways, fails: Exception, state: State, next_was_asked: bool
) -> None:
    """S-44."""
    first, second = use(Stub("one", fails), Stub("two", price=Decimal("0.0455")))
    message = ask(world)

    assert message.state == state
    assert len(first.texts) == 1
    assert bool(second.texts) is next_was_asked
    if next_was_asked:
        assert (message.gateway, message.gateway_message_id) == ("two", "two-1")
        assert (message.cost, message.segments) == (Decimal("0.0455"), 1)
        assert (message.reason, message.sent_at) == ("", timezone.now())
        tries = message.gateway_tries.order_by("pk")
        assert list(tries.values_list("gateway", flat=True)) == ["one", "two"]


@pytest.mark.parametrize("theirs", [None, "a\0b", NUMBER, "i" * 101], ids=repr)
def test_an_id_that_cannot_be_kept_is_left_out(world: World, use: Gateways, theirs: Any) -> None:
    """The gateway took it all the same: it leaves once."""
    (only,) = use(Stub("one"))
    only.says = lambda: theirs
    message = ask(world)
    assert message.state == State.SENT
    assert message.gateway_message_id == ("i" * 100 if theirs == "i" * 101 else "")
    assert len(only.texts) == 1


def test_a_bug_after_the_network_sends_no_third_time(
    world: World, use: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-63: whatever fails once the gateway has it, the attempt is unknown."""
    (only,) = use(Stub("one"))

    def broken(*args: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(GatewayTry, "insert", broken)
    ask(world)
    for _ in range(5):
        world.clock.shift(LEASE)
        delivery.send_due(timezone.now())
    assert len(only.texts) == 2
    assert newest().state == State.FAILED


def test_gateways_serve_their_regions(world: World, use: Gateways) -> None:
    nz, second = use(Stub("nz", regions=("NZ",)), Stub("au", regions=("NZ", "AU")))
    assert ask(world).gateway == "au"
    assert (nz.texts, len(second.texts)) == ([], 1)


def test_every_gateway_is_away_and_comes_back(world: World, use: Gateways) -> None:
    """A text that surely did not leave is no unknown attempt, however often it was tried."""
    first, second, _ = use(
        Stub("one", ELSEWHERE), Stub("two", ELSEWHERE), Stub("nz", regions=("NZ",))
    )
    message = ask(world)
    for _ in range(5):
        world.clock.shift(10)
        assert delivery.send_due(timezone.now()) == 0
    message.refresh_from_db()
    assert (message.state, message.unknown_attempts, message.tries) == (State.QUEUED, 0, 6)
    second.fails = None
    assert delivery.send_due(timezone.now()) == 1
    assert len(first.texts) == 7
    assert {text.reference for text in first.texts + second.texts} == {message.reference}


@pytest.mark.parametrize("names", [["one"], ["one", "two"]], ids=["the-same-again", "the-next"])
def test_a_text_has_two_unknown_attempts_at_most(
    world: World, use: Gateways, names: list[str]
) -> None:
    """S-44, S-63: then it is given up, for it may have left twice."""
    stubs = use(*(Stub(name, SILENT) for name in names))
    ask(world)
    for _ in range(4):
        world.clock.shift(LEASE)
        delivery.send_due(timezone.now())
    message = newest()
    assert (message.state, message.unknown_attempts, message.reason) == (State.FAILED, 2, "silent")
    assert sum(len(stub.texts) for stub in stubs) == 2


def test_an_unknown_attempt_counts_before_the_next_gateway_is_asked(
    world: World, use: Gateways
) -> None:
    """A process killed at the second gateway has left two unknown attempts: no third."""

    def kill() -> None:
        raise KeyboardInterrupt

    first, second = use(Stub("one", SILENT), Stub("two", then=kill))
    world.clock.shift(121)
    with pytest.raises(KeyboardInterrupt):
        world.ask()
    assert (newest().state, newest().unknown_attempts, newest().gateway) == (
        State.SENDING,
        2,
        "two",
    )
    world.clock.shift(LEASE)
    second.then = lambda: None
    assert delivery.send_due(timezone.now()) == 0
    assert newest().state == State.FAILED
    assert len(first.texts) + len(second.texts) == 2


def test_who_lost_the_lease_sends_no_more(world: World, use: Gateways) -> None:
    """Somebody else took the text up meanwhile, with the next try."""

    def lease_over() -> None:
        world.clock.shift(LEASE)
        assert SmsMessage.objects.claim(newest().pk, timezone.now())

    _, second = use(Stub("one", AWAY, then=lease_over), Stub("two"))
    message = ask(world)
    assert second.texts == []
    assert (message.state, message.tries) == (State.SENDING, 2)


# -- what they are handed ----------------------------------------------------------


def test_what_a_gateway_is_handed(world: World, use: Gateways, settings: LazySettings) -> None:
    settings.OPTIN_SENDERS = (("AU", "HarbourBks"), ("NZ", "Other"))
    settings.OPTIN_RECEIPT_SECRET = "s" * 32
    first, second = use(Stub("one", AWAY, then=lambda: world.clock.shift(30)), Stub("two"))
    message = ask(world)
    [early], [late] = first.texts, second.texts
    assert (early.to, early.sender, early.reference) == (NUMBER, "HarbourBks", message.reference)
    address = f"http://testserver/receipts/one/{'s' * 32}?reference={message.reference}"
    assert early.receipt_url.partition("/receipts/")[2] == address.partition("/receipts/")[2]
    left = world.pending.expires_at - timezone.now()
    # Less what the gateway may take to answer.
    assert late.valid_for == left.total_seconds() - 5 == early.valid_for - 30


@pytest.mark.parametrize(("left", "leaves"), [(65, True), (64, False)])
def test_none_leaves_that_is_of_use_for_less_than_a_minute(
    world: World, use: Gateways, left: int, leaves: bool
) -> None:
    [stub] = use(Stub("one", AWAY))
    message = ask(world)
    stub.fails = None
    world.clock.move_to(world.pending.expires_at - timedelta(seconds=left))
    assert delivery.send_due(timezone.now()) == leaves
    message.refresh_from_db()
    assert message.state == (State.SENT if leaves else State.EXPIRED)
    assert all(60 <= text.valid_for < 600 for text in stub.texts)


def test_the_code_dies_while_the_first_gateway_hangs(world: World, use: Gateways) -> None:
    _, second = use(Stub("one", SILENT, then=lambda: world.clock.shift(599)), Stub("two"))
    message = ask(world)
    assert (message.state, second.texts) == (State.EXPIRED, [])


# -- the breaker -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fails", "trips"),
    [(AWAY, True), (SILENT, True), (ELSEWHERE, False), (REFUSED, False)],
    ids=str,
)
def test_three_failures_in_a_row_trip_a_gateway(
    world: World, use: Gateways, fails: SmsError, trips: bool
) -> None:
    """What is said of a number is no failure: nobody trips a gateway by asking for odd ones."""
    first, _ = use(Stub("one", fails), Stub("two"))
    for _ in range(TRIPS_AT):
        ask(world)
    assert len(first.texts) == TRIPS_AT
    health = GatewayHealth.objects.filter(gateway="one").first()
    assert bool(health and health.is_tripped(timezone.now())) is trips


def trip(name: str) -> None:
    for _ in range(TRIPS_AT):
        GatewayHealth.objects.failed(name, timezone.now())


def test_a_gateway_that_works_in_between_is_not_tripped(world: World, use: Gateways) -> None:
    for _ in range(3):
        for _ in range(TRIPS_AT - 1):
            GatewayHealth.objects.failed("one", timezone.now())
        use(Stub("one"), Stub("two"))
        assert ask(world).gateway == "one"


def test_a_tripped_gateway_gets_one_trial_of_all(world: World, use: Gateways) -> None:
    trip("one")
    rows = [GatewayHealth.objects.get() for _ in range(5)]  # as 5 processes see it
    assert all(row.is_tripped(timezone.now()) for row in rows)
    world.clock.shift(TRIPPED_FOR - timedelta(seconds=1))
    assert all(row.is_tripped(timezone.now()) for row in rows)
    world.clock.shift(1)
    assert not any(row.is_tripped(timezone.now()) for row in rows)
    assert [row.claim_trial(timezone.now()) for row in rows] == [True, *[False] * 4]


@pytest.mark.parametrize(("fails", "open_again"), [(None, True), (AWAY, False)])
def test_the_trial_decides_for_all(
    world: World, use: Gateways, fails: SmsError | None, open_again: bool
) -> None:
    trip("one")
    first, _ = use(Stub("one", fails), Stub("two"))
    assert ask(world).gateway == ("one" if open_again else "two")
    assert len(first.texts) == 1
    assert GatewayHealth.objects.get().is_tripped(timezone.now()) is not open_again


def test_where_all_are_tripped_the_text_waits(world: World, use: Gateways) -> None:
    [one] = use(Stub("one"))
    world.clock.shift(121)
    trip("one")
    world.ask()
    assert (newest().state, one.texts) == (State.QUEUED, [])
    world.clock.shift(TRIPPED_FOR)
    assert delivery.send_due(timezone.now()) == 1


def test_what_was_queued_before_a_stop_does_not_leave(world: World, use: Gateways) -> None:
    [one] = use(Stub("one", AWAY))
    message = ask(world)
    Guard.objects.opt_out(world.row.number_digest, "156", timezone.now())
    one.fails = None
    assert delivery.send_due(timezone.now()) == 0
    message.refresh_from_db()
    assert (message.state, message.reason) == (State.FAILED, "the number answered STOP")


# -- in time -----------------------------------------------------------------------


def hanging() -> tuple[socket.socket, str]:
    """A server that takes a connection and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}/"


def http(url: str) -> Http:
    return made(Http, url=url, body='{"a": "{to}", "b": "{body}"}')


@pytest.mark.slow
@pytest.mark.parametrize("how_many", [1, 2])
def test_a_person_is_answered_within_6_seconds_though_gateways_hang(
    user: User, file: File, monkeypatch: pytest.MonkeyPatch, how_many: int
) -> None:
    """S-44, S-64: and the text goes through the next that works."""
    hang = [hanging() for _ in range(how_many)]
    last = Stub("last")
    every = [*(http(url) for _, url in hang), last]
    monkeypatch.setattr(gateways, "for_region", lambda region: every)
    began = time.perf_counter()
    assert opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN).outcome is SendOutcome.SENT
    assert time.perf_counter() - began < 7  # 6, and one for a busy machine
    for listener, _ in hang:
        listener.close()
    if how_many == 1:  # two that hang are two unknown attempts
        assert (newest().state, newest().gateway) == (State.SENT, "last")
    else:
        assert (newest().state, last.texts) == (State.FAILED, [])


@pytest.mark.slow
def test_gateways_that_cannot_be_reached_leave_time_for_each_other(
    user: User, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that are not found in time: no unknown attempt, so all get their turn."""
    real, over = socket.getaddrinfo, threading.Event()

    def slow(host: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).endswith(".invalid"):
            over.wait(20)
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    last = Stub("last")
    every = [*(http(f"http://{n}.invalid/") for n in range(2)), last]
    monkeypatch.setattr(gateways, "for_region", lambda region: every)
    began = time.perf_counter()
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    assert time.perf_counter() - began < 7  # 6, and one for a busy machine
    over.set()
    assert (newest().state, newest().gateway) == (State.SENT, "last")


def test_nothing_of_a_text_is_kept_with_its_tries(world: World, use: Gateways) -> None:
    """S-50."""
    use(Stub("one", RuntimeError(f"{NUMBER} {world.code()}")), Stub("two"))
    ask(world)
    kept = str(list(GatewayTry.objects.values()))
    assert NUMBER[3:] not in kept
    assert world.pending.code() not in kept
