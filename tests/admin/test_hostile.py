"""Hostile values by every way in, and what every face makes of them (S-50, S-60, P-22).

Each way in has a mark of its own: whatever is shown of it must be seen somewhere, else the test
shows nothing, and must do no harm anywhere.
"""

import csv
import io
import logging
import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from html.parser import HTMLParser
from typing import Any
from unicodedata import category
from urllib.parse import quote, urlencode

import pytest
from django.core import mail
from django.core.management import call_command
from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from oauth2_provider.models import get_application_model

from optin.admin import site
from optin.gateways import Receipt, Report, SmsError
from optin.messaging import delivery, receipts
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    GatewayHealth,
    GatewayTry,
    Guard,
    Notice,
    ProviderUser,
    SmsMessage,
    User,
    WebhookEndpoint,
    WebhookTry,
)
from optin.models.webhooks import ANSWER_KEPT, MAX_DESCRIPTION
from optin.operations import opt_ins, staff_actions, tenants
from optin.runtime import logs
from tests.kit.people import NUMBER, ORIGIN, PASSWORD, make_user
from tests.kit.phone import Phone
from tests.kit.staff import LISTS, In, OnStaff

pytestmark = pytest.mark.django_db(transaction=True)

HARM = "\"'><zz onzz=1>&lt;\u202e\u2066\u200b\ufeff\x07\t@SUM(1);=1+1|cmd\r\nX-Evil: 1\r\n\r\n"


def evil(mark: str) -> str:
    """Begin a formula, end an attribute, a tag, a header and a line, turn what follows around."""
    return f"={mark}{HARM}{mark}"


# -- what is looked for ------------------------------------------------------------


class Markup(HTMLParser):
    """What came out of a text and into the markup."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "zz" or any("zz" in name for name, _value in attrs):
            self.found.append(f"<{tag} {attrs}>")
        for name, value in attrs:
            if name in {"href", "src", "action"} and re.match(
                r"\s*(javascript|data):", value or ""
            ):
                self.found.append(f"{name}={value}")


FIELDS = re.compile(r"(?s)<textarea.*?</textarea>|<input [^>]*>")


def unseen(text: str) -> set[str]:
    """Characters that turn what follows, have no width, or end a line."""
    return {f"U+{ord(c):04X}" for c in text if category(c) in {"Cc", "Cf", "Zl", "Zp"}} - {"U+000A"}


def check_headers(what: str, response: Any) -> None:
    assert not [name for name, value in response.items() if "evil" in (name + value).lower()], what
    assert not [value for _name, value in response.items() if unseen(value)], what


def check_page(what: str, response: Any) -> str:
    """Fail if a text does harm in the page; return the page."""
    check_headers(what, response)
    html: str = response.content.decode()
    assert Markup(html).found == [], what
    # What somebody typed stands in the field as they typed it, and nowhere else.
    assert unseen(FIELDS.sub("", html)) == set(), (what, FIELDS.sub("", html))
    return html


def check_cells(text: str) -> str:
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            assert not unseen(cell), cell
            assert "\n" not in cell, cell
            # Of a whole line, too, as a spreadsheet reads it that parts cells by semicolons.
            for part in re.split("[;|\t]", cell):
                assert not re.match(r"[\s\"]*[=+@-](?!\d*$)", part), cell
    return text


# -- which texts there are ---------------------------------------------------------

Application = get_application_model()
WRITTEN: dict[type[models.Model], set[str]] = {
    User: {"username", "email"},
    File: {"name"},
    AccessKey: {"name"},
    AuditEvent: {"user_agent", "reason", "data"},
    Guard: {"reason"},
    SmsMessage: {"reason", "gateway_message_id"},
    ProviderUser: {"client_reference", "taken_over_by"},
    GatewayTry: {"reason", "gateway_message_id"},
    Application: {"name", "redirect_uris", "post_logout_redirect_uris"},
    WebhookEndpoint: {"url", "description"},
    WebhookTry: {"answer"},
}
"""By others than this service, in one way or another."""
OURS: dict[type[models.Model], set[str]] = {
    User: {"password", "first_name", "last_name", "language", "last_attempt", "last_attempt_as"}
    | {"proved_email"},  # a copy of ``email``, which is only compared with it
    AuditEvent: {"outcome", "client", "request_id", "number_digest", "last_three"}
    | {"key_id", "digest", "previous"},
    File: {"external_id"},
    Guard: {"key", "last_three", "region"},
    SmsMessage: {"gateway", "language"},
    GatewayTry: {"gateway", "fate"},
    GatewayHealth: {"gateway"},
    Notice: {"reason", "language", "last_three"},
    ProviderUser: {"name", "number_encrypted", "number_digest", "last_three"},
    AccessKey: {"digest", "prefix"},
    WebhookEndpoint: {"secrets_encrypted", "kinds"},
    WebhookTry: {"message_id", "kind", "reason"},
    Application: {"client_id", "client_secret", "allowed_origins"},
}
"""Digests, ids, names from the settings; what is never set, and what no page shows."""


@pytest.mark.parametrize(
    "model", [*site._registry, GatewayTry, WebhookTry], ids=lambda model: model.__name__
)
def test_of_each_text_it_is_known_who_wrote_it(model: type[models.Model]) -> None:
    """A new one is put among those that are attacked below, or among our own."""
    kinds = (models.CharField, models.TextField, models.JSONField)
    texts = {f.name for f in model._meta.concrete_fields if isinstance(f, kinds) and not f.choices}
    assert texts == WRITTEN.get(model, set()) | OURS.get(model, set())


# -- every way in ------------------------------------------------------------------

NAME, MAIL = evil("username"), '"=email<zz onzz=1>\u202e\u2066;=1+1"@x.example'
AGENT = evil("agentsaid").replace("\r\n", "")  # a server ends a header there
STAFF = (
    "/admin/",
    "/admin/figures/",
    "/admin/optin/user/{user}/unlock/",
    "/admin/optin/user/{user}/change/",
)
"""Beside every list, and the newest rows of each."""
PEOPLE: dict[str, set[str]] = {
    "/account/": {"username", "email", "filename"},
    "/account/activity/": {"email"},  # the word, in what "That wasn't me" ends
    "/account/two-factor/": set(),
}
"""Pages of people, and what each shows of what they wrote about themselves."""


class Attack:
    """Somebody who writes what they like wherever anything can be written."""

    def __init__(self, staff: User, client: Client, phone: Phone) -> None:
        User.objects.filter(pk=staff.pk).update(username=evil("staffname"))
        self.client, self.phone, self.marks = client, phone, {"staffname"}
        self.answers: list[Any] = []
        self.user = make_user("ann")
        User.objects.filter(pk=self.user.pk).update(username=NAME, email=MAIL)
        self.user.refresh_from_db()
        self.marks |= {"username", "email"}

    def post(self, path: str, mark: str, status: int = 303, **body: Any) -> None:
        """Send a form of the admin, with a text that is marked *mark*."""
        data = {name: evil(mark) if value is ... else value for name, value in body.items()}
        response = self.client.post(f"/admin/{path}", {"ready": "on", **data})
        assert response.status_code == status, (path, response.content.decode())
        self.answers.append(response)
        self.marks.add(mark)

    def tenants(self) -> None:
        # Names that people read are refused; by a command, or from before, they are there.
        self.post("optin/file/make/", "typedname", 422, id=777, name=...)
        address = "https://shop.example/cb?redirect=<zz+onzz=1>\"'"
        application = {"redirect_uris": address, "post_logout_redirect_uris": address}
        application["by_code"] = "on"
        make = "oauth2_provider/application/make/"
        self.post(make, "typedname", 422, name=..., **application)
        self.post(make, "typedname", 422, name="x", redirect_uris=f"{address}\u202e")
        assert not File.objects.exists()
        self.post(make, "redirect", 200, name="x", **application)
        get_application_model().objects.update(name=evil("appname"))
        tenants.create_file(777, evil("filename"), origin=ORIGIN)
        self.file = File.objects.get(pk=777)
        self.post("optin/membership/make/", "username", who=NAME.strip(), file_id=777)
        self.post("optin/accesskey/make/", "username", 200, who=MAIL, file_id=777)
        self.marks |= {"appname", "filename"}

    def webhooks(self) -> None:
        """The address of an endpoint, and what its server answers."""
        endpoint = WebhookEndpoint.objects.create(
            file=self.file,
            url="https://hook.example/?=endpointurl<zz+onzz=1>\"'",
            description=evil("endpointwords")[:MAX_DESCRIPTION],
            created_at=timezone.now(),
            due_at=timezone.now(),
        )
        answer = evil("endpointanswer")[:ANSWER_KEPT]
        endpoint.tries.create(at=timezone.now(), milliseconds=1, status=500, answer=answer)
        self.marks |= {"endpointurl", "endpointwords", "endpointanswer"}

    def texts(self) -> None:
        """What gateways and carriers say, and what those who ask call themselves."""
        self.phone.fail_with = SmsError(evil("gatewayreason"))
        key = AccessKey.objects.make(self.user, self.file, timezone.now(), evil("key")[:60])[1]
        api = f"/User/opt-in-to-2fa?FileId=777&WsAccessKey={key}"
        asked = {"MobileNumber": NUMBER}
        theirs = "=clientcallsit<zz+onzz=1>\"'"
        headers = {"user-agent": AGENT, "client-reference": theirs}
        Client().post(api, asked, "application/json", headers=headers)
        self.phone.fail_with = None
        self.phone.send = lambda text: "=gatewayid<zz onzz=1>\"'"  # type: ignore[method-assign]
        delivery.send_due(timezone.now())
        text = SmsMessage.objects.latest("pk")
        refused = Receipt(Report.FAILED, str(text.reference), reason=evil("carriersaid"))
        receipts.take("phone", refused, timezone.now(), ORIGIN)
        self.marks |= {"gatewayreason", "gatewayid", "carriersaid", "agentsaid", "clientcallsit"}

    def operations(self) -> None:
        at = f"optin/user/{self.user.pk}"
        number = ProviderUser.objects.get(user=self.user)
        code = number.pending_otps.latest("pk").code()
        opt_ins.verify_opt_in(self.user, self.file, number.pk, code, origin=ORIGIN)
        ProviderUser.objects.update(
            taken_over_at=timezone.now(), taken_over_by=evil("takenby")[:64]
        )
        self.post(f"{at}/suspend/", "suspendreason", reason=...)
        self.post(f"{at}/resume/", "resumereason", reason=...)
        self.post(f"{at}/unlock/", "unlockreason", reason=...)
        self.post(f"{at}/role/", "rolereason", role="", reason=...)
        self.post(f"optin/provideruser/{number.pk}/reveal/", "revealreason", 200, reason=...)
        deny: dict[str, Any] = {"number": NUMBER, "prefix": "on", "days": "3"}
        self.post("optin/guard/deny/", "guardreason", reason=..., **deny)
        call_command("texts", "stop", "--reason", evil("commandreason"))
        self.marks |= {"commandreason", "takenby"}
        # What is no choice is not repeated.
        self.post(f"{at}/role/", "norole", 422, role=..., reason="x")
        self.marks.remove("norole")
        # Refused, and shown again.
        self.post(f"{at}/unlock/", "longreason", 422, reason=evil("longreason") * 9)
        self.marks.remove("longreason")  # in its field, as it was typed

    def questions(self) -> None:
        """What is asked for, in addresses and in fields."""
        for name in ("outcome", "kind", "from", "user_id"):
            mark = f"filter{name.replace('_', '')}"
            query = {name: evil(mark)[:64]}
            self.answers.append(self.client.get("/admin/optin/auditevent/", query))
            page = self.client.post(f"/admin/optin/auditevent/export/?{urlencode(query)}")
            assert page.status_code == 200
            self.marks.add(mark)
        self.post("find/", "find", 200, who=...)
        self.answers.append(self.client.get(f"/admin/optin/{quote(evil('path'))}/"))
        self.marks.remove("find")


def person(user: User) -> Client:
    """The person, signed in on the pages."""
    client, password = Client(headers={"user-agent": AGENT}), {"password": PASSWORD}
    staff_actions.revoke(user, reason="lost", origin=ORIGIN)
    response = client.post("/sign-in/", {"username": MAIL, **password})
    assert response.status_code == 303, response.content.decode()
    return client


@pytest.mark.slow
def test_hostile_text_is_harmless_everywhere(
    signed_in: In, on_staff: OnStaff, phone: Phone, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = signed_in("administrator")
    attack = Attack(on_staff("administrator"), client, phone)
    attack.tenants()
    attack.webhooks()
    attack.texts()
    attack.operations()
    attack.questions()

    for model, fields in WRITTEN.items():
        for field in fields:
            rows = [str(row) for row in model._base_manager.values_list(field, flat=True)]
            assert [row for row in rows if "onzz=1" in row], f"{model.__name__}.{field}"

    pages = [check_page(f"answer {n}", answer) for n, answer in enumerate(attack.answers)]
    for name, model in LISTS.items():
        at = reverse(f"admin:{name}_changelist")
        pages.append(check_page(at, client.get(at)))
        for row in model._default_manager.order_by("-pk")[:40]:
            pages.append(check_page(f"{at}{row.pk}", client.get(f"{at}{row.pk}/change/")))
    for path in STAFF:
        pages.append(check_page(path, client.get(path.format(user=attack.user.pk))))
    export: Any = client.post("/admin/optin/auditevent/export/")
    check_headers("export", export)
    pages.append(check_cells(b"".join(export.streaming_content).decode()))

    shown = "\n".join(pages)
    assert {mark for mark in attack.marks if mark not in shown} == set()
    assert [line for line in lines(caplog) if unseen(line) or "zz onzz" in line] == []
    themselves = person(attack.user)
    for path, own in PEOPLE.items():
        html = themselves.get(path).content.decode()
        assert Markup(html).found == [], path
        # Of themselves they see what they are called, of others nothing but the file.
        told = {mark for mark in attack.marks if mark in html}
        assert told <= own, path
    assert len(mail.outbox) >= 4
    for message in mail.outbox:
        check_mail(message)


def lines(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    """What the log of the service has of all that, in each form."""
    for form in logs.FORMATS:
        formatter = logs.Line(form)
        for record in caplog.records:
            if logs.WithoutClientsWords().filter(record):
                yield formatter.format(record)


def check_mail(message: Any) -> None:
    parsed = message_from_bytes(message.message().as_bytes(), policy=policy.default)
    assert "X-Evil" not in parsed
    assert not unseen(parsed["Subject"])
    assert len(message.to) == 1
    assert "reason" not in message.body
