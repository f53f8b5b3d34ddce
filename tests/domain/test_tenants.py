"""Files, members and keys: each change with one event of its own."""

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import DatabaseError

from optin.errors import Deactivated, FileIdTaken
from optin.models import AccessKey, AuditEvent, File, Notice, User
from optin.operations import staff, tenants
from optin.origin import Face, Origin
from tests.kit.people import make_user
from tests.kit.trail import audit_trail_full
from tests.kit.world import notices

pytestmark = pytest.mark.django_db

BY_COMMAND = Origin(Face.COMMAND)
Kind = AuditEvent.Kind


def test_a_file_id_is_taken_once(file: File) -> None:
    with pytest.raises(FileIdTaken):
        tenants.create_file(file.pk, "Books", origin=BY_COMMAND)
    assert not AuditEvent.objects.exists()


def test_a_key_is_told_of_with_its_change_or_not_at_all(user: User, file: File) -> None:
    """One transaction: no key without its mail, and no mail without its key."""
    with audit_trail_full(), pytest.raises(DatabaseError):
        tenants.make_access_key(user, file, origin=BY_COMMAND)
    assert not AccessKey.objects.exists()
    assert notices(user) == []
    tenants.make_access_key(user, file, origin=BY_COMMAND)
    with audit_trail_full(), pytest.raises(DatabaseError):
        tenants.revoke_access_key(AccessKey.objects.get(), origin=BY_COMMAND)
    assert notices(user) == [Notice.Kind.KEY_MADE]
    tenants.revoke_access_key(AccessKey.objects.get(), origin=BY_COMMAND)
    tenants.revoke_access_key(AccessKey.objects.get(), origin=BY_COMMAND)
    assert notices(user) == [Notice.Kind.KEY_MADE, Notice.Kind.KEY_REVOKED]


def test_a_role_is_told_of_with_its_change_or_not_at_all(user: User) -> None:
    Group.objects.get_or_create(name="support")
    with audit_trail_full(), pytest.raises(DatabaseError):
        staff.give_role(user, "support", reason="x", origin=BY_COMMAND)
    assert (notices(user), user.groups.count()) == ([], 0)
    staff.give_role(user, "support", reason="x", origin=BY_COMMAND)
    staff.give_role(user, "support", reason="x", origin=BY_COMMAND)
    assert (notices(user), user.groups.count()) == ([Notice.Kind.ROLE], 1)


def test_nobody_gives_a_role_beyond_their_own_rights(user: User) -> None:
    """S-37."""
    other = make_user("other")
    User.objects.filter(pk=other.pk).update(is_staff=True)
    other.user_permissions.set(Permission.objects.filter(codename="give_roles"))
    by_other = Origin(Face.ADMIN, actor_id=other.pk)
    assert staff.give_role(user, "support", reason="x", origin=by_other) == "out_of_reach"
    assert not user.groups.exists()
    User.objects.filter(pk=other.pk).update(is_active=False)
    with pytest.raises(Deactivated):
        staff.give_role(user, "", reason="x", origin=by_other)
