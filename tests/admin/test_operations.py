"""What staff do: found, with a reason, done by the services, shown once (P-22 to P-24)."""

import csv
import io
import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.core import mail
from django.core.management import CommandError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from oauth2_provider.models import get_application_model

from optin.actions.tenants import ApplicationForm
from optin.errors import Deactivated
from optin.models import (
    AccessKey,
    AuditEvent,
    ExternalId,
    File,
    Notice,
    Passkey,
    ProviderUser,
    ScimClient,
    SmsMessage,
    TrustedClient,
    User,
)
from optin.operations import opt_ins, send_controls, staff_actions
from optin.operations.send_controls import Target
from optin.origin import Face, Origin
from optin.support.cells import cell
from optin.support.wording import decided
from tests.kit.authenticator import Authenticator
from tests.kit.commands import run
from tests.kit.oauth import make_client
from tests.kit.people import NOON, NUMBER, ORIGIN, OTHER_NUMBER, make_user
from tests.kit.phone import Phone
from tests.kit.staff import In, OnStaff, ask
from tests.kit.trail import tell
from tests.kit.world import Person

pytestmark = pytest.mark.django_db(transaction=True)

# -- finding somebody --------------------------------------------------------------


@pytest.mark.parametrize(
    "who", ["ann", "ANN", "ann@example.com", NUMBER, "0491 570 156", " 0491-570-156 ", "A-7"]
)
def test_an_account_is_found(user: User, active: ProviderUser, signed_in: In, who: str) -> None:
    """By what the field names, in a POST: no number in any address (S-51)."""
    ExternalId.objects.create(user=user, text="A-7")
    client = signed_in("auditor")
    assert "id in the old system" in client.get("/admin/").content.decode()
    response = client.post("/admin/find/", {"who": who})
    assert response.status_code == 303
    assert response["Location"] == f"/admin/optin/user/{user.pk}/change/"
    assert client.get("/admin/find/", {"who": who}).status_code == 405


def test_the_search_by_number_says_why_each_account_is_there(
    user: User,
    stranger: User,
    active: ProviderUser,
    file: File,
    phone: Phone,
    clock: time_machine.Traveller,
    signed_in: In,
) -> None:
    asked = make_user("asked", file)
    make_user(NUMBER)  # a name that looks like a number hides nobody
    client = signed_in("support")

    def why() -> dict[str, str]:
        html = ask(client, "find/", 200, who=NUMBER)
        assert f">{NUMBER}<" in html
        return dict(re.findall(r'change/">(\w+)</a>[^:]*: <bdi>([^<]*)<', html))

    clock.shift(600)
    opt_ins.opt_in(stranger, file, NUMBER, origin=ORIGIN)
    wants = "asked for a text to this number at 2026-11-02 23:10 AEDT"
    assert why() == {"ann": "uses this number now", "ben": wants}
    row = ProviderUser.objects.get(user=stranger)
    opt_ins.verify_opt_in(stranger, file, row.pk, phone.code(), origin=ORIGIN)
    proved = "entered the right code at 2026-11-02 23:10 AEDT, but ann uses this number"
    assert why()["ben"] == proved
    clock.shift(600)
    staff_actions.revoke(user, reason="asked", origin=ORIGIN)
    send_controls.deny(Target.number(NUMBER), timedelta(days=1), reason="x", origin=ORIGIN)
    opt_ins.opt_in(asked, file, NUMBER, origin=ORIGIN)
    assert why() == {
        "ann": "had this number until 2026-11-02 23:20 AEDT",
        "ben": proved.replace("ann uses", "another account used"),
        "asked": wants.replace("23:10", "23:20"),
    }


@pytest.mark.parametrize("who", ["", "nobody", OTHER_NUMBER, "x" * 5000, "\0", "+61", "'; --"])
def test_nobody_is_found(user: User, active: ProviderUser, signed_in: In, who: str) -> None:
    assert "No account has this" in ask(signed_in("support"), "find/", 200, who=who)


@pytest.mark.parametrize("who", [NUMBER, OTHER_NUMBER])
def test_a_search_for_a_number_is_audited(active: ProviderUser, signed_in: In, who: str) -> None:
    """S-37: who tries number after number learns what the mask hides. The trail says who did."""
    client = signed_in("auditor")
    ask(client, "find/", 303 if who == NUMBER else 200, who=who)

    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.outcome, event.face) == ("search", "ok", "admin")
    assert event.actor_id == User.objects.get(username="auditor").pk
    assert event.number_digest == ProviderUser.digest_of(who)
    assert event.data == {"found": int(who == NUMBER)}
    assert who[3:-3] not in str(AuditEvent.objects.values())
    assert "?kind=search" in client.get("/admin/optin/auditevent/").content.decode()


@pytest.mark.slow
def test_nobody_tries_number_after_number(
    active: ProviderUser, signed_in: In, clock: time_machine.Traveller
) -> None:
    """60 an hour, each member of staff for themselves; names are found all the same."""
    client = signed_in("support")
    for n in range(60):
        ask(client, "find/", 200, who=f"+614915702{n:02d}")

    answer = client.post("/admin/find/", {"who": NUMBER})

    assert (answer.status_code, answer["Retry-After"]) == (429, "3600")
    assert "You searched for too many numbers" in answer.content.decode()
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.outcome, event.data["count"]) == ("search", "search_limit", 60)
    ask(client, "find/", 303, who="ann")
    ask(signed_in("auditor"), "find/", 303, who=NUMBER)
    clock.shift(3600)
    ask(signed_in("support"), "find/", 303, who=NUMBER)


@pytest.mark.parametrize(
    ("more", "changes", "said"),
    [
        ("", {}, "It was never used."),
        ("", {"last_used_at": NOON}, "It was last used at 2026-11-02 23:00:00 AEDT."),
        (
            "f" * 58,
            {"revoked_at": NOON},
            "It was revoked at 2026-11-02 23:00:00 AEDT: a call with it gets 401.",
        ),
    ],
)
def test_a_key_is_found_by_its_first_characters(
    user: User, access_key: str, signed_in: In, more: str, changes: dict[str, Any], said: str
) -> None:
    """Six count, and the page says no more than these, also where a whole key is pasted."""
    AccessKey.objects.update(**changes)
    key = AccessKey.objects.get()
    html = ask(signed_in("auditor"), "find/", 200, who=f" {key.prefix}{more} ")
    assert f'href="/admin/optin/accesskey/{key.pk}/change/"' in html
    assert f'href="/admin/optin/user/{user.pk}/change/">ann<' in html
    assert f"begins with <bdi>{key.prefix}</bdi>" in html
    assert f"{key.prefix}{more or 'x'}" not in html
    assert said in html
    assert not AuditEvent.objects.filter(kind="search").exists()


def test_a_key_that_nobody_has_is_said_to_be_mistyped(access_key: str, signed_in: In) -> None:
    html = ask(signed_in("support"), "find/", 200, who="wrongword")
    assert (
        "No access key begins with <bdi>wrongw</bdi>: it is mistyped, or it was never one of ours."
        in html
    )
    assert "A call with it gets 401." in html
    assert "Nothing found for “wrongword”" in html
    assert "ab12ab12" not in ask(signed_in("support"), "find/", 200, who="ab12" * 16)
    for who in ("wrong", "ann@example.net", "ann.lee", "TKY-6B7", "no such name", NUMBER):
        assert "No access key" not in ask(signed_in("support"), "find/", 200, who=who)


def test_a_key_is_found_only_by_who_may_see_keys(access_key: str, signed_in: In) -> None:
    client = signed_in("support")
    may_see = Permission.objects.get(codename="view_accesskey")
    support = Group.objects.get(name="support")
    support.permissions.remove(may_see)
    html = ask(client, "find/", 200, who=AccessKey.objects.get().prefix)
    support.permissions.add(may_see)  # groups stay to the next test
    assert "access key" not in html.split('<form class="find"')[0].lower()


# -- lists -------------------------------------------------------------------------


def test_the_list_of_accounts_names_the_role_of_staff(
    user: User, signed_in: In, on_staff: OnStaff
) -> None:
    for role in ("support", "administrator", "superuser"):
        on_staff(role)
    User.objects.filter(pk=make_user("new").pk).update(is_staff=True)
    html = signed_in("auditor").get("/admin/optin/user/").content.decode()
    found = dict(re.findall(r'change/">(\w+)</a>.*?field-staff_role">([^<]*)<', html, re.DOTALL))
    assert found == {
        "ann": "-",
        "new": "without a role",
        "auditor": "auditor",
        "support": "support",
        "administrator": "administrator",
        "superuser": "superuser",
    }


# -- operations on an account ------------------------------------------------------


def test_suspend_and_resume(user: User, active: ProviderUser, signed_in: In) -> None:
    client, page = signed_in("support"), f"optin/user/{user.pk}"
    assert client.get(f"/admin/{page}/suspend/").status_code == 200
    active.refresh_from_db()
    assert active.suspended_at is None  # a GET does nothing

    assert "Suspended." in ask(client, f"{page}/suspend/", reason="phone stolen")
    active.refresh_from_db()
    assert active.suspended_at == NOON
    assert "It was already suspended." in ask(client, f"{page}/suspend/", reason="again")
    assert "The suspension was ended." in ask(client, f"{page}/resume/", reason="found it")

    active.refresh_from_db()
    assert active.suspended_at is None
    assert Counter(Notice.objects.values_list("kind", flat=True)) >= Counter(
        [Notice.Kind.SUSPENDED, Notice.Kind.RESUMED]
    )  # each change is told by email
    assert not LogEntry.objects.exists()  # Django's own log of its admin: nothing writes it
    events = AuditEvent.objects.filter(face=Face.ADMIN).order_by("pk")
    assert [(e.kind, e.outcome, e.reason) for e in events] == [
        ("suspend", "ok", "phone stolen"),
        ("suspend", "unchanged", "again"),
        ("resume", "ok", "found it"),
    ]


def test_a_passkey_is_removed_and_the_others_stay(
    user: User, file: File, phone: Phone, clock: time_machine.Traveller, signed_in: In
) -> None:
    person, page = Person(user, file, phone, clock), f"optin/user/{user.pk}"
    person.add_passkey("Blue key")
    person.keys = Authenticator(can_be_backed_up=True, is_backed_up=True)
    person.add_passkey(f"Phone {NUMBER}")
    lost, kept = Passkey.objects.of(user)
    shown = signed_in("support").get(f"/admin/{page}/change/").content.decode()
    assert "2 passkeys" in shown
    assert f"Blue key: id {lost.pk}; on one device only; added" in shown
    assert NUMBER not in shown
    form = {"passkey": lost.pk, "reason": "stolen", "ready": "on"}
    ask(signed_in("support"), f"{page}/remove-passkey/", 403, **form)

    said = ask(signed_in("administrator"), f"{page}/remove-passkey/", **form)
    assert "The passkey was removed." in said
    assert Passkey.objects.get() == kept
    assert Notice.objects.latest("pk").kind == Notice.Kind.PASSKEY_REMOVED
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.outcome, event.reason) == ("revoke", "ok", "stolen")
    assert event.data == {"removed": ["passkey"], "passkeys": [lost.pk]}
    assert decided(event) == "Passkey removed by staff"

    with pytest.raises(CommandError, match="no such second factor"):
        run("person", "remove-passkey", "ann", str(lost.pk), "--reason", "again")
    run("person", "remove-passkey", "ann", str(kept.pk), "--reason", "asked")
    assert not Passkey.objects.exists()


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, "active"),
        ({"otp_locked_until": NOON + timedelta(minutes=1)}, "locked"),
        ({"otp_locked_until": NOON}, "active"),
        ({"program_disabled_at": NOON}, "locked for applications"),
        ({"program_locked_until": NOON + timedelta(minutes=1)}, "locked for applications"),
        ({"otp_disabled_at": NOON}, "texted codes locked"),
        ({"otp_disabled_at": NOON, "otp_locked_until": NOON, "is_active": False}, "deactivated"),
    ],
)
def test_the_state_of_an_account_is_what_holds_now(
    user: User, signed_in: In, facts: dict[str, Any], state: str
) -> None:
    """A lock ends by itself; of who is deactivated nothing else matters."""
    User.objects.filter(pk=user.pk).update(**facts)
    html = signed_in("support").get("/admin/optin/user/").content.decode()
    row = next(row for row in html.split("<tr>") if f"/user/{user.pk}/change/" in row)
    assert f'class="field-state">{state}<' in row


def test_resend_texts_the_same_code_and_keeps_the_limits(
    user: User, pending: ProviderUser, phone: Phone, clock: time_machine.Traveller, signed_in: In
) -> None:
    """P-23. The wait of every text holds for staff too; one whose key was lost is not sent."""
    client, path, code = signed_in("support"), f"optin/user/{user.pk}/resend/", phone.code()
    html = ask(client, path, reason="at once")
    assert "Nothing was sent: a limit refused it." in html
    assert "You can send it again from 2026-11-02 " in html
    assert len(phone.messages) == 1
    clock.shift(60)
    html = ask(client, path, reason="nothing came")
    assert "A text is on its way." in html
    assert [to for to, _ in phone.messages] == [NUMBER, NUMBER]
    assert phone.code() == code
    assert code not in html
    ProviderUser.objects.filter(pk=pending.pk).update(number_encrypted="x")
    clock.shift(60)
    assert "the number cannot be read" in ask(client, path, reason="again")
    events = AuditEvent.objects.filter(kind="resend").order_by("pk")
    assert [(event.outcome, event.reason) for event in events] == [
        ("send_limit", "at once"),
        ("resent", "nothing came"),
        ("unreadable", "again"),
    ]
    assert events[0].data["rule"] == "resend-wait"


def test_a_number_in_full_is_shown_once(active: ProviderUser, signed_in: In) -> None:
    """S-37, P-23. By a POST with a reason, and the trail keeps who looked."""
    client, path = signed_in("administrator"), f"optin/provideruser/{active.pk}/reveal/"
    assert NUMBER not in client.get(f"/admin/{path}").content.decode()

    assert NUMBER in ask(client, path, 200, reason="the carrier asks")

    assert NUMBER not in client.get(f"/admin/{path}").content.decode()
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.outcome, event.reason) == ("reveal", "ok", "the carrier asks")
    assert (event.provider_user_id, event.last_three) == (active.pk, NUMBER[-3:])
    assert NUMBER[3:] not in str(AuditEvent.objects.values_list("data", "reason"))
    ProviderUser.objects.filter(pk=active.pk).update(number_encrypted="x")
    assert "The number cannot be read" in ask(client, path, reason="x")
    assert AuditEvent.objects.latest("pk").outcome == "unreadable"


def test_a_role_is_given_and_taken_and_told(user: User, signed_in: In) -> None:
    client, path = signed_in("administrator"), f"optin/user/{user.pk}/role/"
    assert "The role was changed." in ask(client, path, role="support", reason="new here")
    user.refresh_from_db()
    assert ([g.name for g in user.groups.all()], user.is_staff) == (["support"], True)
    assert "Already set." in ask(client, path, role="support", reason="again")

    ask(client, path, role="", reason="left")

    user.refresh_from_db()
    assert (list(user.groups.all()), user.is_staff) == ([], False)
    event = AuditEvent.objects.filter(kind="role").earliest("pk")
    assert event.data == {"role": "support", "before": ""}
    given, taken = mail.outbox
    assert {*given.to, *taken.to} == {"ann@example.com"}
    assert given.subject == "Your role as a member of staff was changed"
    assert "Your role is now: support." in str(given.body)
    assert "You're no longer a member of staff." in str(taken.body)
    assert "new here" not in str(given.body)


@pytest.mark.parametrize("role", ["", "auditor"])
def test_a_superuser_who_is_given_a_role_has_no_more_than_that(
    user: User, signed_in: In, role: str
) -> None:
    """Also who is taken it, and comes back in a lower one."""
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    client, path = signed_in("superuser"), f"optin/user/{user.pk}/role/"

    ask(client, path, role=role, reason="other work")
    ask(client, path, role="auditor", reason="back")

    known = User.objects.get(pk=user.pk)
    assert (known.is_staff, known.is_superuser) == (True, False)
    assert known.has_perm("optin.view_user")
    assert not known.has_perm("optin.reveal_number")
    first = AuditEvent.objects.filter(kind="role").earliest("pk")
    assert first.data == {"role": role, "before": "superuser"}


def test_whoever_is_no_staff_any_more_changes_nothing(user: User, on_staff: OnStaff) -> None:
    """Between the door and the service: the service looks again."""
    actor = on_staff("support")
    User.objects.filter(pk=actor.pk).update(is_staff=False)
    before = AuditEvent.objects.count()
    with pytest.raises(Deactivated):
        staff_actions.unlock(user, reason="x", origin=Origin(Face.ADMIN, actor_id=actor.pk))
    assert AuditEvent.objects.count() == before


# -- tenants -----------------------------------------------------------------------


def shown_secret(html: str) -> str:
    found = re.search(r'id="secret">([^<]+)<', html)
    assert found, html
    return found[1]


def test_the_secret_of_an_application_is_shown_once(signed_in: In) -> None:
    client = signed_in("administrator")
    body = {"name": "Shop", "redirect_uris": "https://shop.example/cb", "by_code": "on"}
    secret = shown_secret(ask(client, "oauth2_provider/application/make/", 200, **body))
    made = get_application_model().objects.get()
    assert len(secret) == 128
    assert made.client_secret != secret
    assert made.authorization_grant_type == "authorization-code"
    row = client.get(f"/admin/oauth2_provider/application/{made.pk}/change/").content.decode()
    assert secret not in row
    assert made.client_secret not in row

    ask(client, f"oauth2_provider/application/{made.pk}/remove/")

    assert not get_application_model().objects.exists()
    kinds = AuditEvent.objects.filter(kind="application").order_by("pk")
    assert [event.outcome for event in kinds] == ["made", "removed"]


def test_an_application_is_let_to_provision(signed_in: In, file: File) -> None:
    client = signed_in("administrator")
    made = make_client("client-credentials", "okta")
    page = f"oauth2_provider/application/{made.pk}"
    ask(client, f"{page}/scim/", 422, reason="x", file_id="1")
    assert "of file 777" in ask(client, f"{page}/scim/", reason="x", file_id="777")
    ask(client, f"{page}/scim/", 422, reason="x", file_id="")
    assert "everybody" in ask(client, f"{page}/scim/", reason="x", file_id="", all_files="on")
    ask(client, f"{page}/scim-token/", 422, days="1000")
    assert "shown only once" in ask(client, f"{page}/scim-token/", 200, days="90")
    public = make_client("client-credentials", "phone")
    get_application_model().objects.filter(pk=public.pk).update(client_type="public")
    ask(client, f"oauth2_provider/application/{public.pk}/scim/", 422, reason="x", all_files="on")
    sandbox = File.objects.create(id=900, name="Sandbox", is_sandbox=True)
    ask(client, f"{page}/scim/", 422, reason="x", file_id=str(sandbox.pk))
    assert ScimClient.objects.get().file is None


def test_an_application_is_trusted_to_name_addresses(signed_in: In) -> None:
    """With a reason, which the trail keeps; not one that has no secret."""
    client = signed_in("administrator")
    shop = get_application_model().objects.create(name="Shop", client_type="confidential")
    page = f"oauth2_provider/application/{shop.pk}"
    ask(client, f"{page}/trust/", 422, reason="")
    assert "Changed." in ask(client, f"{page}/trust/", reason="its login form")
    assert "Already set." in ask(client, f"{page}/trust/", reason="again")
    assert TrustedClient.objects.filter(application=shop).exists()
    assert "Changed." in ask(client, f"{page}/no-trust/", reason="sold")
    shop.client_type = "public"
    shop.save()
    ask(client, f"{page}/trust/", 422, reason="an app on phones")

    assert not TrustedClient.objects.exists()
    events = AuditEvent.objects.filter(kind="application").order_by("pk")
    assert [(event.outcome, event.reason) for event in events] == [
        ("trusted", "its login form"),
        ("unchanged", "again"),
        ("trust_ended", "sold"),
    ]
    assert {event.data["application"] for event in events} == {shop.pk}


def test_an_application_leads_back_by_https() -> None:
    body = {"name": "Shop", "by_code": "on"}
    for address in (
        *("", "http://shop.example/", "javascript:alert(1)", "https://", "https:///cb"),
        *("https://shop.example/#x", "https://shop.example@evil.example/", "https://*.example/"),
        *("https://shop.example/ http://shop.example/", "https://[::1"),
    ):
        form = ApplicationForm({**body, "redirect_uris": address})
        assert "redirect_uris" in form.errors, address
        form = ApplicationForm({"name": "Shop", "post_logout_redirect_uris": address})
        assert ("post_logout_redirect_uris" in form.errors) is bool(address), address
    assert ApplicationForm({**body, "redirect_uris": "https://shop.example/cb"}).is_valid()


# -- the log as a file -------------------------------------------------------------


def exported(client: Client, query: str = "") -> list[dict[str, str]]:
    response: Any = client.post(f"/admin/optin/auditevent/export/{query}")
    assert response.status_code == 200
    assert response["Content-Disposition"] == 'attachment; filename="audit-events.csv"'
    assert response.streaming
    text = b"".join(response.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_export_holds_what_the_filters_leave_and_is_audited(
    user: User, active: ProviderUser, signed_in: In
) -> None:
    """P-22."""
    client = signed_in("auditor")

    rows = exported(client, f"?kind=verify_opt_in&user_id={user.pk}")

    assert [(row["event"], row["outcome"], row["account"]) for row in rows] == [
        ("verify_opt_in", "ok", "ann")
    ]
    event = AuditEvent.objects.latest("pk")
    assert (event.kind, event.face) == ("export", "admin")
    assert event.data == {"filters": {"kind": "verify_opt_in", "user_id": str(user.pk)}}
    assert event.actor_id == User.objects.get(username="auditor").pk


def test_export_goes_on_past_a_batch(signed_in: In, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest first, to the end of the range."""
    monkeypatch.setattr("optin.admin.audit._BATCH", 3)
    for kind, outcome in [("keys", "sent"), *[("keys", "ok"), ("stop", "sent")] * 9]:
        tell(kind, outcome)
    client = signed_in("auditor")
    all_ids = [int(row["id"]) for row in exported(client, "?kind=keys")]
    assert len(all_ids) == 10
    assert all_ids == sorted(all_ids, reverse=True)
    rows = exported(client, "?kind=keys&outcome=sent")
    assert [(row["event"], row["outcome"]) for row in rows] == [("keys", "sent")]


def test_facts_that_somebody_changed_keep_nobody_from_the_log(user: User, signed_in: In) -> None:
    """What is no time, or no number, is shown as if it was not there."""
    times = dict.fromkeys(("since", "until", "locked_until", "due_at"), "2026-13-45T00:00:00")
    changed = {**times, "repeated": "x", "retry_after": "soon", "rule": "file"}
    naive = {"since": "2026-11-02T10:00:00", "until": "2026-11-02T11:00:00", "repeated": 3}
    for data in (changed, naive):
        tell("opt_in", "send_limit", user_id=user.pk, data=data)
    client = signed_in("administrator")
    assert len(exported(client, "?kind=opt_in")) == 2
    for page in ("auditevent/?kind=opt_in", f"user/{user.pk}/change/"):
        assert client.get(f"/admin/optin/{page}", follow=True).status_code == 200, page


@pytest.mark.slow
def test_export_that_nobody_reads_on_asks_for_nothing_more(
    signed_in: In, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And holds nothing meanwhile, however slow somebody reads: no transaction, no cursor."""
    monkeypatch.setattr("optin.admin.audit._BATCH", 3)
    for _ in range(20):
        tell("keys")
    response: Any = signed_in("auditor").post("/admin/optin/auditevent/export/?kind=keys")
    with CaptureQueriesContext(connection) as captured:
        chunks = iter(response.streaming_content)
        # The names of the columns, and then a batch, before the next one is asked for.
        assert [next(chunks).count(b"\r\n") for _ in range(2)] == [1, 3]
        assert len([q for q in captured if "optin_auditevent" in q["sql"]]) == 1
        assert not connection.in_atomic_block
        if connection.vendor == "postgresql":
            assert connection.connection.info.transaction_status == 0  # idle
        before = len(captured)
        response.close()
        assert list(chunks) == []
        assert len(captured) == before


def test_export_refuses_a_look_up(signed_in: In) -> None:
    response = signed_in("auditor").post("/admin/optin/auditevent/export/?number_digest__gt=a")
    assert response.status_code == 400
    assert not AuditEvent.objects.filter(kind="export").exists()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", "plain"),
        (None, ""),
        (-12, "-12"),
        ("a=b; c+d, -e", "a=b; c+d, -e"),
        *((f"{start}1+1", f"'{start}1+1") for start in ("=", "+", "-", "@", "\uff1d")),
        ("x;=1+1", "x;'=1+1"),
        ('x; "@SUM(1)"', 'x;\' "@SUM(1)"'),
        ("x;'=1", "x;''=1"),
        ('"=1', "'\"=1"),
        ("x|-1", "x|'-1"),
        ("a\tb\x1b[31m", "a b [31m"),
    ],
)
def test_a_cell_begins_no_formula_even_where_semicolons_part_cells(
    text: object, written: str
) -> None:
    """A spreadsheet in German takes ``;`` for the end of a cell, and no comma."""
    assert cell(text) == written


@pytest.mark.slow
@pytest.mark.parametrize(
    "written",
    [
        *(NUMBER, "+61 (491) 570-156", "0491\u2011570\u2011156"),
        # Digits of full width.
        "".join(chr(ord(c) + 0xFEE0) for c in "0491570156"),
    ],
)
def test_a_number_that_somebody_wrote_is_masked(
    user: User, pending: ProviderUser, signed_in: In, written: str
) -> None:
    """S-51: in the reasons of staff and of gateways, on lists, rows and in the file."""
    said = f"asked by {written} on 2026-11-02"
    tell("unlock", user_id=user.pk, reason=said, data={"filters": {"outcome": written}})
    event = AuditEvent.objects.latest("pk")
    SmsMessage.objects.update(reason=said, state="failed")
    message = SmsMessage.objects.get()
    message.gateway_tries.update(reason=said)
    assert message.gateway_tries.exists()
    client = signed_in("auditor")
    pages = [
        client.get(f"/admin/optin/{path}").content.decode()
        for path in (
            *("auditevent/", f"auditevent/{event.pk}/change/", f"user/{user.pk}/change/"),
            *("smsmessage/", f"smsmessage/{message.pk}/change/"),
        )
    ]
    response: Any = client.post("/admin/optin/auditevent/export/")
    pages.append(b"".join(response.streaming_content).decode())
    for page in pages:
        assert written not in page
        assert "156" in page
        assert "2026-11-02" in page


# -- the page of an account --------------------------------------------------------


@pytest.mark.parametrize("path", ["optin/user/{}/unlock/", "optin/accesskey/{}/revoke/"])
def test_an_operation_on_a_row_that_is_none(signed_in: In, path: str) -> None:
    client = signed_in("superuser")
    before = AuditEvent.objects.count()

    for pk in ("0", "999999", "9" * 30):
        for send in (client.get, client.post):
            response = send(f"/admin/{path.format(pk)}", {"reason": "x"})
            assert (response.status_code, response["Location"]) == (303, "/admin/")
    assert AuditEvent.objects.count() == before
