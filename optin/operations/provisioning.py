"""People and memberships as an identity provider keeps them, by SCIM (``api.scim``).

An application is for all files, or for one. One of one file sees only people of this file. It ends
only their membership, if they belong to other files too. Staff, test accounts and erased people are
nobody to any application. No second factor and no right of staff can be reached.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, transaction
from django.db.models import BooleanField, CharField, Exists, ExpressionWrapper, OuterRef, Q, Value
from django.db.models.functions import Cast, Concat, Lower
from django.utils import timezone

from optin import limits
from optin.errors import Barred, InvalidMobileNumber, NotThere, OtherRegion, Taken, TooMany, Unfit
from optin.messaging import delivery
from optin.models import (
    AuditEvent,
    EmailChange,
    ExternalId,
    File,
    Membership,
    Notice,
    ProposedNumber,
    ScimClient,
    ScimEnd,
    User,
)
from optin.models.users import ERASED
from optin.operations import email_changes, imports, people, proposals, tenants
from optin.origin import Origin
from optin.runtime import locks
from optin.support.wording import plain

Kind = AuditEvent.Kind

REASON = "By SCIM"

MAX_CHANGES = 300
"""Members of a group that one request may put in or out: each is locked until all are done."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a provider keeps of a person."""

    username: str
    email: str = ""
    external_id: str = ""
    active: bool = True
    mobile: str | None = None
    """The number to propose; "" for none any more. None where nothing is said of it."""


@dataclass(frozen=True, slots=True)
class Group:
    """A file and its members. A provider sees no others."""

    name: str
    external_id: str = ""
    members: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Provider:
    """An application, and for which people and files it is."""

    client: ScimClient
    origin: Origin

    @property
    def file(self) -> File | None:
        """The only file; None if it is for all."""
        return self.client.file

    def people(self) -> Any:
        """Return whom it sees; ``is_let_in`` of each says whether they are active to it."""
        own = ScimEnd.objects.filter(user=OuterRef("pk"), application=self.client.pk)
        erased = Concat(Value(ERASED), Cast("pk", CharField()))
        found = User.objects.filter(is_staff=False, is_superuser=False, is_test=False).exclude(
            is_active=False, email="", username__startswith=erased
        )
        found = found.exclude(Exists(own.filter(deleted=True)))
        if self.file is None:
            is_let_in = Q(is_active=True)
        else:
            member = Exists(
                Membership.objects.filter(user=OuterRef("pk"), file=self.file, active=True)
            )
            found = found.filter(member | Exists(own))
            is_let_in = Q(member, is_active=True)
        is_so = ExpressionWrapper(is_let_in, BooleanField())
        return found.annotate(is_let_in=is_so).select_related("external")

    def files(self) -> Any:
        found = File.objects.filter(active=True, is_sandbox=False)
        return found if self.file is None else found.filter(pk=self.file.pk)

    def members(self, file: File) -> Any:
        """Return the members of *file* whom it sees; for its only file, who is let in."""
        found = self.people().filter(memberships__file=file, memberships__active=True)
        return found.filter(is_let_in=True) if self.file else found

    def ends(self, person: User) -> Any:
        """Return the row that says that it has ended the access of *person*, if it has."""
        return ScimEnd.objects.filter(application=self.client.pk, user=person)

    def locked(self, pk: int) -> User:
        """Return the person under their lock.

        :raises NotThere: if it sees nobody with this id.
        """
        try:
            User.objects.locked(pk)
            person: User = self.people().get(pk=pk)
        except User.DoesNotExist:
            raise NotThere from None
        return person

    def shares(self, person: User) -> bool:
        """Whether *person* belongs to other files than its own, too."""
        return self.file is not None and (
            File.objects.open_to(person).exclude(pk=self.file.pk).exists()
        )

    def may_rename(self, person: User) -> bool:
        """Whether it may change as whom *person* signs in: it could so take the account over."""
        return self.file is None or not (self.shares(person) or imports.uses(person))


def profile_of(provider: Provider, person: Any) -> Profile:
    """Return what *provider* sees of one of its ``people``."""
    external = person.external.text if hasattr(person, "external") else ""
    return Profile(person.username, person.email, external, person.is_let_in)


# -- people ------------------------------------------------------------------------


def create(provider: Provider, wanted: Profile) -> int:
    """Make a person, who has no password yet, and return the id.

    :raises Taken: if somebody has the name, the address or the external id.
    :raises Unfit: or
    :raises UnfitAddress: if one of them is none.
    """
    person = User(username=User.normalize_username(wanted.username), email=wanted.email)
    person.set_unusable_password()
    with _writing(provider):
        _save(provider, person, wanted, ["email", "external_id"])
        people.record_made(person, origin=provider.origin)
        if provider.file:
            tenants.let_in(person, provider.file, origin=provider.origin)
        if not wanted.active:
            _end(provider, person)
        _propose(provider, person, wanted)
    return person.pk


def change(provider: Provider, pk: int, edit: Callable[[Profile], Profile]) -> None:
    """Let a person be as *edit* says, which is called under their lock.

    :raises NotThere: if the provider sees nobody with this id.
    :raises Taken: if somebody else has the name, the address or the external id.
    :raises Unfit: or
    :raises UnfitAddress: if one of them is none.
    :raises Barred: if the provider may not change one of them, or activate the person.
    :raises TooMany: if the address of somebody who uses the service changes too often.
    """
    with _writing(provider):
        person = provider.locked(pk)
        before = profile_of(provider, person)
        wanted = edit(before)
        if email_changes.same(before.email, wanted.email):
            wanted = replace(wanted, email=before.email)
        changed = [
            name
            for name in ("username", "email", "external_id")
            if getattr(before, name) != getattr(wanted, name)
        ]
        if changed:
            _rename(provider, person, wanted, changed)
        if wanted.active and not before.active:
            _let_back(provider, person)
        elif before.active and not wanted.active:
            _end(provider, person)
        _propose(provider, person, wanted)


def delete(provider: Provider, pk: int) -> None:
    """End the access of a person, whom the provider does not see any more.

    Nothing is erased. Staff may activate the person: then the provider sees them again.

    :raises NotThere: if the provider sees nobody with this id.
    """
    with _writing(provider):
        person = provider.locked(pk)
        if not _end(provider, person):
            _record(Kind.PERSON, "provisioned", provider, user_id=person.pk, data={"deleted": True})
        _keep_end(provider, person, deleted=True)


def _rename(provider: Provider, person: User, wanted: Profile, changed: list[str]) -> None:
    if not provider.may_rename(person):
        raise Barred(
            "This person signs in here already, or belongs to other files, too. The user name, "
            "the email address and the external id can only be changed elsewhere."
        )
    old = person.email
    is_told = "email" in changed and bool(old) and imports.uses(person)
    if is_told and not wanted.email:
        raise Barred("This person signs in here already: their address cannot be removed.")
    if is_told and (over := limits.reserve_email(person, timezone.now())):
        raise TooMany(over.retry_after)
    person.username, person.email = User.normalize_username(wanted.username), wanted.email
    if "email" in changed:
        person.invited_at = None  # as in imports
    _save(provider, person, wanted, changed)
    if is_told:
        _tell_old_address(person, old)
    data = {"changed": changed}
    _record(Kind.PERSON, "provisioned", provider, user_id=person.pk, data=data)


def _propose(provider: Provider, person: User, wanted: Profile) -> None:
    """Propose the number, if it is one that may opt in here. It is never a second factor.

    What an import proposed stays.
    """
    proposed = ProposedNumber.objects.filter(user=person)
    is_of_others = proposed.exclude(source=proposals.Source.PROVIDER).exists()
    if wanted.mobile is None or is_of_others or not provider.may_rename(person):
        return
    if wanted.mobile:
        try:
            number = proposals.fit(wanted.mobile)
        except (InvalidMobileNumber, OtherRegion):
            return
        source, now = proposals.Source.PROVIDER, timezone.now()
        changed = proposals.propose(person, number.e164, source=source, now=now)
    else:
        changed = proposals.withdraw(person)
    if changed:
        data = {"changed": ["mobile"]}
        _record(Kind.PERSON, "provisioned", provider, user_id=person.pk, data=data)


def _save(provider: Provider, person: User, wanted: Profile, changed: list[str]) -> None:
    if "email" in changed and person.email:
        person.email = email_changes.fit_address(person.email)
    person.full_clean(exclude=["password"], validate_unique=False, validate_constraints=False)
    _refuse_taken(provider, person, wanted.external_id)
    person.named_for_one_file |= provider.file is not None
    named = ["username", "email", "invited_at", "named_for_one_file"]
    person.save(update_fields=named if person.pk else None)
    if "external_id" in changed:
        ExternalId.objects.filter(user=person).delete()
        if wanted.external_id:
            external = ExternalId(user=person, text=wanted.external_id)
            external.full_clean()
            external.save(force_insert=True)


def _refuse_taken(provider: Provider, person: User, external_id: str) -> None:
    """:raises Taken: with the field, and with whose access it was that *provider* itself ended."""
    others = User.objects.exclude(pk=person.pk).annotate(
        name=Lower("username"), address=Lower("email")
    )
    for field, text in (
        ("userName", person.username),
        ("emails.value", person.email),
        ("externalId", external_id),
    ):
        # A user name must not be the address of somebody else: they sign in with it.
        login = Lower(Value(text))
        is_theirs = Q(name=login) | Q(address=login)
        same = Q(external__text=text) if field == "externalId" else is_theirs
        holder = others.filter(same).first() if text else None
        if holder and provider.ends(holder).filter(deleted=True).exists():
            raise Taken(
                "This application ended the access of this person. An administrator must "
                "activate them, or put them into the file."
            )
        if holder:
            raise Taken(f"Somebody else has this {field}.")


def _tell_old_address(person: User, old: str) -> None:
    """Tell the old address, from where the change can be taken back for a while."""
    now = timezone.now()
    person.email_changes.open().close(now, EmailChange.Closed.OTHERWISE)
    done = EmailChange.objects.create(
        user=person,
        old_address=old,
        new_address=person.email,
        asked_at=now,
        closed_at=now,
        closed_as=EmailChange.Closed.DONE,
    )
    delivery.notify(person, Notice.Kind.EMAIL_CHANGED, now, about_id=done.pk)


def _end(provider: Provider, person: User) -> bool:
    """End the account or, if the provider is not for all its files, the membership.

    :returns: whether there was anything to end.
    """
    if provider.file and provider.shares(person):
        if not File.objects.open_to(person).filter(pk=provider.file.pk).exists():
            return False
        tenants.put_out(person, provider.file, origin=provider.origin)
    elif person.is_active:
        people.set_active(person, False, "deactivated", REASON, provider.origin)
    else:
        return False
    _keep_end(provider, person)
    return True


def _keep_end(provider: Provider, person: User, *, deleted: bool = False) -> None:
    provider.ends(person).delete()
    ScimEnd.objects.create(
        application_id=provider.client.pk,
        user=person,
        of_account=not person.is_active,
        deleted=deleted,
    )


def _let_back(provider: Provider, person: User) -> None:
    """Undo ``_end``."""
    own = provider.ends(person).first()
    if own is None or not (person.is_active or own.of_account):
        raise Barred(
            "Staff or another application ended this person's access. Only an administrator can "
            "give it back."
        )
    if not person.is_active:
        people.set_active(person, True, "activated", REASON, provider.origin)
    if provider.file:
        tenants.let_in(person, provider.file, origin=provider.origin)
    provider.ends(person).delete()


# -- groups ------------------------------------------------------------------------


def group_of(provider: Provider, file: File) -> Group:
    members = frozenset(provider.members(file).values_list("pk", flat=True))
    return Group(file.name, file.external_id, members)


def create_group(provider: Provider, wanted: Group) -> int:
    """Make a file with these members, and return its id.

    :raises Barred: if the provider is for one file.
    :raises Taken: if another file has the name.
    :raises Unfit: if the name is none, if there are more than ``MAX_CHANGES`` members, or if the
        provider does not see one of them.
    """
    _refuse_one_file(provider)
    with _writing(provider):
        file = File(pk=File.objects.next_id(), name=wanted.name, external_id=wanted.external_id)
        _check(file)
        _refuse_double(file)
        tenants.keep_file(file, origin=provider.origin)
        _set_members(provider, file, frozenset(), wanted.members)
    return file.pk


def change_group(provider: Provider, pk: int, edit: Callable[[Group], Group]) -> None:
    """Let a file have the name and the members that *edit* says.

    :raises NotThere: if the provider sees no file with this id.
    :raises Taken: if another file has the name.
    :raises Unfit: if the name is none, if more than ``MAX_CHANGES`` members change, or if the
        provider does not see one of them.
    :raises Barred: if it may not change the name, or not let somebody in.
    """
    with _writing(provider):
        file = _locked_file(provider, pk)
        before = group_of(provider, file)
        wanted = edit(before)
        if before.name != wanted.name:
            _refuse_one_file(provider)
            _refuse_double(File(pk=pk, name=wanted.name))
        if replace(before, members=wanted.members) != wanted:
            file.name, file.external_id = wanted.name, wanted.external_id
            _check(file)
            file.save(update_fields=["name", "external_id"])
            _record(Kind.FILE, "changed", provider, user_id=None, file_id=file.pk)
        _set_members(provider, file, before.members, wanted.members)


def delete_group(provider: Provider, pk: int) -> None:
    """Close a file that was never used and has no members. Its id is never given again.

    The provider sees it no more, and may still know the id.

    :raises NotThere: if the provider sees no file with this id.
    :raises Barred: if it was used, or the provider is for one file.
    """
    _refuse_one_file(provider)
    with _writing(provider):
        file = _locked_file(provider, pk)
        relations: Any = File._meta.get_fields(include_hidden=True)
        used = [
            relation.related_model._base_manager.filter(**{relation.field.name: file})
            for relation in relations
            if relation.auto_created and not relation.concrete
        ]
        left = [rows.filter(active=True) if rows.model is Membership else rows for rows in used]
        if any(rows.exists() for rows in left):
            raise Barred("This file is in use: it cannot be deleted. Take its members out.")
        _record(Kind.FILE, "removed", provider, user_id=None, file_id=file.pk)
        file.active = False
        file.save(update_fields=["active"])


def _check(file: File) -> None:
    file.full_clean()
    if plain(file.name) != file.name:  # people would read it as another one
        raise Unfit("displayName: it contains invisible characters.")


def _refuse_double(file: File) -> None:
    if File.objects.filter(name=file.name, active=True).exclude(pk=file.pk).exists():
        raise Taken("There is a file with this displayName.")


def _set_members(
    provider: Provider, file: File, before: frozenset[int], wanted: frozenset[int]
) -> None:
    changed = before ^ wanted
    if len(changed) > MAX_CHANGES:
        raise Unfit(f"members: at most {MAX_CHANGES} can be added or removed in one request.")
    for pk in changed:
        try:
            person = provider.locked(pk)
        except NotThere:
            raise Unfit("members: there is nobody with one of these ids.") from None
        if provider.file:
            (_let_back if pk in wanted else _end)(provider, person)
        elif pk not in wanted:
            tenants.put_out(person, file, origin=provider.origin)
        elif person.named_for_one_file:
            raise Barred("An application of one file named one of these people. Ask staff.")
        else:
            tenants.let_in(person, file, origin=provider.origin)


def _locked_file(provider: Provider, pk: int) -> File:
    file: File | None = provider.files().select_for_update(no_key=True).filter(pk=pk).first()
    if file is None:
        raise NotThere
    return file


def _refuse_one_file(provider: Provider) -> None:
    if provider.file:
        raise Barred("This application is for one file: it can make, rename or delete none.")


@contextmanager
def _writing(provider: Provider) -> Iterator[None]:
    """Write in one transaction; record it if *provider* learns that something is in use.

    One after the other, and no import meanwhile: the database does not know that a user name must
    not be the address of somebody else, and that two files must not have one name.
    """
    try:
        with _refusing(), transaction.atomic(durable=True):
            locks.wait_for(imports.LOCK)
            yield
    except Taken:
        with transaction.atomic(durable=True):
            _record(Kind.PERSON, "in_use", provider, user_id=None)
        raise


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what the rows refuse into a refusal that names the field."""
    try:
        yield
    except ValidationError as exc:
        name, errors = next(iter(exc.error_dict.items()))
        if name == NON_FIELD_ERRORS or any(error.code == "unique" for error in errors):
            raise Taken from None
        raise Unfit(f"{_NAMES.get(name, name)}: {errors[0].messages[0]}") from None
    except IntegrityError:
        raise Taken from None


_NAMES = {
    "username": "userName",
    "email": "emails.value",
    "text": "externalId",
    "external_id": "externalId",
    "name": "displayName",
}


def _record(
    kind: AuditEvent.Kind, outcome: str, provider: Provider, *, user_id: int | None, **more: Any
) -> None:
    AuditEvent.objects.record(kind, outcome, origin=provider.origin, user_id=user_id, **more)
