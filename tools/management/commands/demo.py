import base64
import json
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import get_hasher
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone
from oauth2_provider.models import AccessToken

from optin import keys
from optin.conf import conf
from optin.management.commands import BaseCommand
from optin.models import (
    AccessKey,
    AuthenticatorApp,
    File,
    GatewayHealth,
    Guard,
    Membership,
    ProviderUser,
    RecoveryCode,
    Revocation,
    SendCounter,
    User,
)
from optin.operations import sign_in
from tools import demo
from tools.demo.cases import CALLERS

FILES = {777: "Harbour Books", 888: "Ridge Bakery"}


@dataclass(frozen=True, slots=True)
class Person:
    username: str
    role: str
    file_ids: tuple[int, ...]

    @property
    def password(self) -> str:
        return _secret(f"password {self.username}", 12)

    def access_key(self, file_id: int) -> str:
        return _secret(f"access key {self.username} {file_id}", 32)


BOSS = "sam"
PEOPLE = (
    Person("ann", "person", (777,)),
    Person("ben", "person", (888,)),
    Person("cam", "person", (777, 888)),
    Person(BOSS, "staff", ()),
)


class Command(BaseCommand):
    help = "Make the sample data of a development start, and print how to try it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print the data as JSON.")
        parser.add_argument(
            "--reset", action="store_true", help="Put the demo people back to the start."
        )
        parser.add_argument(
            "--empty", action="store_true", help="Make the demo people only, without a history."
        )
        parser.add_argument("--migrate", action="store_true", help="Migrate the tables first.")

    def handle(self, *args: Any, reset: bool, empty: bool, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("The demo data is for a development start only.")
        if options["migrate"]:
            call_command("migrate", verbosity=0)
        is_new, now = demo.is_empty(), timezone.now()
        with transaction.atomic():
            _make()
            if reset:
                _reset()
        boss = User.objects.get(username=BOSS)
        if is_new and not empty:
            files = [File.objects.get(pk=pk) for pk in FILES]
            demo.tell(now, files, boss, _hash(others_password()))
        elif is_new or reset:
            demo.tell_of_boss(now, File.objects.get(pk=next(iter(FILES))), boss)
        self.stdout.write(
            json.dumps(_summary(), indent=2) if options["json"] else _guide(), ending="\n"
        )


def others_password() -> str:
    """Return the password of everybody in the history."""
    return _secret("password of the others", 12)


def _secret(label: str, length: int) -> str:
    """Return *length* letters and digits that stand under *label* for this SECRET_KEY."""
    raw = keys.derive(settings.SECRET_KEY, f"demo {label}")
    return base64.b32encode(raw).decode().lower()[:length]


def _hash(password: str) -> str:
    """Hash a password that nobody can guess, without the third of a second that others take."""
    hasher = type(get_hasher())()
    hasher.iterations = 1  # type: ignore[attr-defined]
    return hasher.encode(password, hasher.salt())


def _make() -> None:
    for file_id, name in FILES.items():
        File.objects.get_or_create(id=file_id, defaults={"name": name})
    for person in PEOPLE:
        user = User.objects.filter(username=person.username).first()
        if user is None:
            user = User.objects.create_user(
                person.username,
                f"{person.username}@example.com",
                password=None,
                is_staff=person.role == "staff",
                is_superuser=person.role == "staff",
            )
            user.password = _hash(person.password)
            user.save(update_fields=["password"])
        for file_id in person.file_ids:
            file = File.objects.get(pk=file_id)
            Membership.objects.get_or_create(user=user, file=file, defaults={"manages": True})
            key = person.access_key(file_id)
            if not AccessKey.objects.filter(digest=keys.sha256(key)).exists():
                AccessKey.objects.keep(key, user, file, timezone.now())
    sign_in.enable_password_clients()


def _reset() -> None:
    """Undo what the demo people did; only the audit trail remembers it."""
    users = User.objects.filter(username__in=[person.username for person in PEOPLE])
    for person in PEOPLE:
        user = users.get(username=person.username)
        user.is_active = True
        user.is_staff = user.is_superuser = person.role == "staff"
        user.groups.clear()
        user.set_password(person.password)
        user.save()
        own = [keys.sha256(person.access_key(file_id)) for file_id in person.file_ids]
        AccessKey.objects.filter(digest__in=own).update(revoked_at=None)
        memberships = Membership.objects.filter(user=user, file__in=person.file_ids)
        memberships.update(active=True, manages=True)
    File.objects.filter(pk__in=FILES).update(active=True)
    numbers = ProviderUser.objects.filter(user__in=users).values_list("number_digest", flat=True)
    Guard.objects.filter(key__in=list(numbers)).delete()
    Guard.objects.filter(kind=Guard.Kind.BREAKER).delete()
    GatewayHealth.objects.all().delete()
    Revocation.objects.filter(user__in=users).delete()
    for factor in (ProviderUser, AuthenticatorApp, RecoveryCode):
        factor._default_manager.filter(user__in=users).delete()
    AccessToken.objects.filter(user__in=users).delete()
    SendCounter.objects.all().delete()
    users.update(
        otp_failures=0,
        otp_locked_until=None,
        otp_disabled_at=None,
        program_failures=0,
        program_locked_until=None,
        program_disabled_at=None,
        app_failures_until=None,
        last_attempt="",
    )


def _summary() -> dict[str, Any]:
    return {
        "base_url": conf.base_url,
        "simulator_url": f"{conf.base_url}/simulator/",
        "users": [
            {
                "username": person.username,
                "password": person.password,
                "role": person.role,
                "file_ids": list(person.file_ids),
                "access_keys": {str(pk): person.access_key(pk) for pk in person.file_ids},
            }
            for person in PEOPLE
        ],
    }


def _guide() -> str:
    context = {
        "base_url": conf.base_url,
        "people": PEOPLE,
        "port": settings.PORT,
        "data_dir": settings.DATA_DIR,
        "phone": settings.DATA_DIR / "sms.jsonl",
        "ann_key": PEOPLE[0].access_key(777),
        "ben_key": PEOPLE[1].access_key(888),
        "boss": BOSS,
        "has_history": User.objects.filter(username__in=CALLERS).count() == len(CALLERS),
        "others_password": others_password(),
    }
    return render_to_string("demo.txt", context)
