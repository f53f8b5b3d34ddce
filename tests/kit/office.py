"""What staff look at: an account to which everything has happened, and one row of every kind.

Made by the services where they can make it; the words are what people and gateways may write.
"""

from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone
from oauth2_provider.models import get_application_model

from optin.gateways import Simulator
from optin.models import (
    AccessKey,
    AuditEvent,
    File,
    GatewayHealth,
    GatewayTry,
    Guard,
    Membership,
    Notice,
    PendingOtp,
    ProviderUser,
    Purpose,
    SmsMessage,
    User,
    WebhookEndpoint,
    WebhookEvent,
)
from optin.operations import challenges, opt_ins, send_controls, staff_actions, tenants
from optin.operations.send_controls import Target
from optin.origin import Face, Origin

NUMBER, SHARED = "+61491570800", "+61491570802"
LONG = "wolfeschlegelsteinhausenbergerdorff" * 4
REASON = (
    "They called from the shop in Albury: the phone was left on a train on Monday, "
    "\u202eand somebody <b>tries</b> codes. Reference " + "0a1b2c3d4e5f" * 6
)
AGENT = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"
ADDRESS = "2001:db8:1234:5678:9abc:def0:1234:5678"
BUSY = 60
"""Events of the account: more than a page of the timeline."""

Read = Callable[[], str]


def _simulated() -> str:
    return Simulator().latest(1)[0].body.split()[0]


def fill(read_code: Read = _simulated) -> dict[str, int]:
    """Make it all; return the id of a row of each kind, by what its list is called.

    :param read_code: returns the code in the newest text.
    """
    file = File.objects.order_by("pk").first()
    assert file
    busy = _person(LONG[:140], "x" * 60 + "@" + "long-host." * 6 + "example.com", file)
    other = _person("twin", "", file)
    member = _person("member", "member@example.com", file)
    _opt_in(busy, file, read_code)
    for each in (busy, other):
        opt_ins.opt_in(each, file, SHARED, origin=_web(each))
    _happen(busy, file)
    return {**_one_of_each(busy, member, file), "optin_user": busy.pk}


def _person(name: str, email: str, file: File) -> User:
    user: User = User.objects.create_user(name, email, "tell-the-harbour-9")
    Membership.objects.create(user=user, file=file)
    return user


def _web(user: User) -> Origin:
    return Origin(Face.WEB, actor_id=user.pk, ip=ADDRESS, user_agent=AGENT)


def _opt_in(user: User, file: File, read_code: Read) -> None:
    sending = opt_ins.opt_in(user, file, NUMBER, origin=_web(user))
    assert sending.provider_user_id
    opt_ins.verify_opt_in(user, file, sending.provider_user_id, read_code(), origin=_web(user))


def _happen(user: User, file: File) -> None:
    """What people do in a bad week, and staff about it."""
    by_staff = Origin(Face.COMMAND)
    for _ in range(BUSY // 2):
        staff_actions.suspend(user, reason=REASON, origin=by_staff)
        staff_actions.resume(user, reason="found again", origin=by_staff)
    challenges.challenge(user, Purpose.SIGN_IN, origin=_web(user))
    for guess in range(4):
        challenges.check(user, Purpose.SIGN_IN, f"{guess:07}", origin=_web(user))
    sending = opt_ins.opt_in(user, file, "+4915123456789", origin=_web(user))
    assert not sending.provider_user_id


def _one_of_each(user: User, member: User, file: File) -> dict[str, int]:
    now, by_staff = timezone.now(), Origin(Face.COMMAND)
    lasts = timedelta(days=30)
    send_controls.deny(Target.number(SHARED), lasts, reason=REASON, origin=by_staff)
    send_controls.keep_safe(Target.prefix("+61491570900"), lasts, reason="office", origin=by_staff)
    GatewayHealth.objects.create(gateway="sim-two", failures=5, tripped_until=now)
    tenants.make_access_key(member, file, origin=by_staff)
    tenants.make_application(
        LONG[:100], "https://shop.example/" + "back/" * 30, by_code=True, origin=by_staff
    )
    text = SmsMessage.objects.filter(pending_otp__provider_user__user=user).latest("pk")
    SmsMessage.objects.filter(pk=text.pk).update(reason="carrier says: " + LONG[:80])
    GatewayTry.objects.create(
        message=text, gateway="simulator", at=now, fate="refused", reason="no route " + LONG[:80]
    )
    endpoint = WebhookEndpoint.objects.create(
        file=file,
        url=f"https://shop.example/{'hook/' * 30}",
        secrets_encrypted=WebhookEndpoint.seal(WebhookEndpoint.new_secret(), file.pk),
        created_at=now,
        due_at=now + timedelta(days=1),  # the server sends what is due
        failures=2,
        old_secret_ends_at=now + timedelta(days=1),
        cursor=1011,
    )
    waits = WebhookEvent.objects.create(
        message_id=WebhookEvent.new_id(),
        file=file,
        kind=WebhookEvent.Kind.REVOCATION_CANCELLED,
        at=now,
        sequence=1012,  # far from those that the server gives
    )
    for status, sequence in ((200, 1010), (404, 1011), (503, 1012)):
        endpoint.tries.create(
            message_id=waits.message_id,
            kind=waits.kind,
            sequence=sequence,
            skipped=sequence == 1011,
            at=now,
            status=status,
            milliseconds=41,
            answer=LONG[:200],
        )
    newest = {
        model._meta.label_lower.replace(".", "_"): model._default_manager.latest("pk").pk
        for model in (Notice, AuditEvent, Guard, Membership, AccessKey, get_application_model())
    }
    return {
        **newest,
        "optin_membership": Membership.objects.get(user=member).pk,
        "optin_gatewayhealth": GatewayHealth.objects.latest("pk").pk,
        "optin_smsmessage": text.pk,
        "optin_pendingotp": PendingOtp.objects.filter(provider_user__user=user).latest("pk").pk,
        "optin_provideruser": ProviderUser.objects.get(user=user, confirmed=True).pk,
        "optin_file": file.pk,
        "optin_webhookendpoint": endpoint.pk,
    }
