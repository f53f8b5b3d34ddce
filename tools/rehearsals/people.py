"""Who there is in a rehearsal, and their numbers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils import timezone

from optin import limits, phones
from optin.errors import InvalidMobileNumber
from optin.models import File, Membership, ProviderUser, User
from optin.operations import sign_in
from optin.origin import Face, Origin

PASSWORD = "their own and long enough"  # noqa: S105  (of nobody)
WEAK = "Password1"
FILES = 12


@dataclass(frozen=True, slots=True)
class Person:
    user: User = field(repr=False)
    file: File = field(repr=False)
    mobile: str = field(repr=False)  # E.164
    ip: str = field(repr=False)

    def at_home(self, session: object = "") -> Origin:
        """From where they sign in: on pages, as most people do."""
        return Origin(Face.WEB, actor_id=self.user.pk, ip=self.ip, session=str(session))

    def by_client(self) -> Origin:
        """Through the server of an integrator, one for each file."""
        return Origin(Face.API, client=f"key:{self.file.pk}", ip=f"198.51.100.{self.file.pk}")


class Numbers:
    """Mobile numbers of one region, each given out once."""

    def __init__(self, region: str, chance: random.Random) -> None:
        self.region, self.chance = region, chance
        self._given: set[str] = set()

    def any(self) -> str:
        """One of any prefix."""
        example = phones.parse(phones.examples(self.region)[1], home_region=self.region).e164
        begin = max(len(phones.calling_code(self.region)) + 1, len(example) - 7)
        return self._fit(example[:begin], len(example) - begin)

    def beside(self, mobile: str) -> str:
        """One with the same prefix as *mobile*."""
        return self._fit(mobile[:-4], 4)

    def _fit(self, begin: str, digits: int) -> str:
        for _ in range(10_000):
            mobile = f"{begin}{self.chance.randrange(10**digits):0{digits}d}"
            if mobile not in self._given and self._is_fit(mobile):
                self._given.add(mobile)
                return mobile
        raise LookupError(f"no more mobile numbers of {self.region} are left")

    def _is_fit(self, mobile: str) -> bool:
        try:
            number = phones.parse(mobile, home_region=self.region)
        except InvalidMobileNumber:
            return False
        return number.region == self.region and number.e164 == mobile and not number.is_fiction


def make_files() -> list[File]:
    """The files of as many integrators."""
    sign_in.enable_password_clients()
    return [File.objects.create(id=n + 1, name=f"File {n + 1}") for n in range(FILES)]


def make(name: str, mobiles: Sequence[str], files: Sequence[File], first_ip: str) -> list[Person]:
    """A person for each number, each at home in a network of their own.

    :param first_ip: of the first; the others follow.
    """
    hashed = make_password(PASSWORD)
    users = User.objects.bulk_create(
        User(username=f"{name}{n}", email=f"{name}{n}@example.com", password=hashed)
        for n in range(len(mobiles))
    )
    people = [
        Person(user, files[n % len(files)], mobile, address(first_ip, n))
        for n, (user, mobile) in enumerate(zip(users, mobiles, strict=True))
    ]
    Membership.objects.bulk_create(Membership(user=p.user, file=p.file) for p in people)
    return people


def address(first: str, n: int) -> str:
    """The address *n* networks (/24) after *first*, which ends in two zeros but the host's."""
    one, _, _, host = first.split(".")
    return f"{one}.{n // 256}.{n % 256}.{host}"


def let_verify(people: Sequence[Person]) -> None:
    """Give each their number active, and their network known: they opted in some time ago."""
    now = timezone.now()
    ProviderUser.objects.bulk_create(
        ProviderUser(
            user=person.user,
            file=person.file,
            confirmed=True,
            number_encrypted=ProviderUser.seal(person.mobile, person.user),
            number_digest=ProviderUser.digest_of(person.mobile),
            last_three=person.mobile[-3:],
            created_at=now,
            verified_at=now,
        )
        for person in people
    )
    for person in people:
        with transaction.atomic():
            limits.remember_network(person.user, person.at_home(), now)
