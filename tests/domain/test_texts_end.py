"""The day on which texts end in a file: who is counted, when it may be set, what it refuses."""

from datetime import date, timedelta
from html import unescape

import pytest
import time_machine
from django.core.management import CommandError
from django.utils import timezone

from optin.models import AuditEvent, File, Passkey, ProviderUser, User
from optin.operations import opt_ins, texts_end
from optin.operations.sending import Sending
from optin.outcomes import CodeOutcome, SendOutcome
from optin.passkeys import rp_id
from tests.kit.apps import WEB, add_app, add_passkey, standing
from tests.kit.clients import Api, Tokens, bearer, error
from tests.kit.commands import run
from tests.kit.people import NUMBER, ORIGIN, OTHER_NUMBER
from tests.kit.phone import Phone
from tests.kit.staff import ask, browser_of

pytestmark = pytest.mark.django_db

WHY = "--reason=Ticket 34. Jo"
SET = "optin/file/777/texts-end/"
MEMBERS = "/admin/optin/membership/?file_id=777&how_far="


def in_days(count: int) -> date:
    return timezone.localdate() + timedelta(days=count)


def end_texts(file: File, count: int) -> None:
    File.objects.filter(pk=file.pk).update(texts_end_on=in_days(count))


# -- setting the day -----------------------------------------------------------------


def test_the_day_strands_nobody(active: ProviderUser, stranger: User) -> None:
    """S-70: it is refused while members with texts only lack a password, or four weeks."""
    stranger.set_unusable_password()
    stranger.save()  # without any factor: nothing to lose
    active.user.set_unusable_password()
    active.user.save()
    staff = browser_of("administrator")

    def refused(count: int) -> str:
        page = ask(staff, SET, 422, day=in_days(count).isoformat(), reason="Moving on. Jo")
        assert File.objects.get(pk=777).texts_end_on is None
        assert f'<a href="{MEMBERS}texts_only">1 member ' in unescape(page)
        return page

    assert "without a password: 1." in refused(60)
    listed = staff.get(f"{MEMBERS}stranded").content.decode()
    assert ("ann" in listed, "ben" in listed) == (True, False)
    active.user.set_password("correct horse battery")
    active.user.save()
    assert f"4 weeks to add another: name {in_days(28)}" in refused(27)

    day = in_days(28)
    assert "The day was set." in ask(staff, SET, day=day.isoformat(), reason="Moving on. Jo")
    assert File.objects.get(pk=777).texts_end_on == day
    event = AuditEvent.objects.get(kind=AuditEvent.Kind.FILE)
    assert (event.outcome, event.reason, event.data) == (
        "texts_end",
        "Moving on. Jo",
        {"day": day.isoformat()},
    )
    assert f"on {day:%-d %B %Y}" in staff.get("/admin/optin/file/777/change/").content.decode()
    # Nearer is refused as before, later never is.
    assert "4 weeks" in ask(staff, SET, 422, day=in_days(5).isoformat(), reason="Sooner. Jo")
    active.user.set_unusable_password()
    active.user.save()
    assert "The day was set." in ask(staff, SET, day=in_days(40).isoformat(), reason="Later. Jo")


def test_the_day_by_command(active: ProviderUser) -> None:
    with pytest.raises(CommandError, match=f"name {in_days(28)} or a later day"):
        run("file", "texts-end", "777", in_days(1).isoformat(), WHY)
    with pytest.raises(CommandError, match="This day is over"):
        run("file", "texts-end", "777", in_days(-1).isoformat(), WHY)
    with pytest.raises(CommandError, match="Write the day like"):
        run("file", "texts-end", "777", "soon", WHY)
    add_app(active.user)
    assert "The day was set." in run("file", "texts-end", "777", in_days(0).isoformat(), WHY)
    assert "that day already" in run("file", "texts-end", "777", in_days(0).isoformat(), WHY)
    assert "taken back" in run("file", "texts-stay", "777", WHY)
    assert "No day is set." in run("file", "texts-stay", "777", WHY)
    assert File.objects.get(pk=777).texts_end_on is None
    events = AuditEvent.objects.filter(kind=AuditEvent.Kind.FILE).order_by("pk")
    assert list(events.values_list("outcome", flat=True)) == ["texts_end", "texts_stay"]


def test_a_passkey_of_another_host_is_no_other_factor(active: ProviderUser, file: File) -> None:
    add_passkey(active.user, rp_id="old.example.com")
    with pytest.raises(CommandError, match=f"name {in_days(28)}"):
        run("file", "texts-end", "777", in_days(27).isoformat(), WHY)
    end_texts(file, 0)
    assert texts_end.near(active.user) == file
    assert ask_for(active.user, OTHER_NUMBER).outcome is SendOutcome.FACTOR_DISABLED

    Passkey.objects.update(rp_id=rp_id(), public_key="k")
    assert texts_end.near(active.user) is None
    assert ask_for(active.user, OTHER_NUMBER).outcome is SendOutcome.SENT
    end_texts(file, 1)
    assert "The day was set." in run("file", "texts-end", "777", in_days(0).isoformat(), WHY)


# -- from the day on -----------------------------------------------------------------


def test_a_call_opts_nobody_in_from_the_day_on(
    user: User, file: File, phone: Phone, clock: time_machine.Traveller
) -> None:
    end_texts(file, 1)
    api = Api(token=bearer(user))
    assert api.opt_in(NUMBER).status == 200
    clock.shift(timedelta(days=1))
    api = Api(token=bearer(user))
    answer = api.opt_in(NUMBER)
    assert answer.brief == (403, "factor_disabled")
    assert "#factor_disabled.texts_end>" in answer.headers["Link"]
    assert [link["rel"] for link in answer.links] == ["help"]
    assert AuditEvent.objects.get(outcome="factor_disabled").data["rule"] == ("texts_end")
    assert len(phone.messages) == 1
    # The order of the contract: what is wrong with the number comes before.
    assert api.opt_in("+1 212 555 0100").brief[0] == 400
    add_passkey(user, rp_id="old.example.com")
    assert api.opt_in(NUMBER).brief == (409, "already_opted_in")


@pytest.mark.usefixtures("password_clients")
def test_numbers_from_before_go_on(
    user: User, file: File, active: ProviderUser, phone: Phone, clock: time_machine.Traveller
) -> None:
    end_texts(file, 0)
    clock.shift(timedelta(minutes=5))
    assert error(Tokens().sign_in()) == (401, "2fa_code_required")
    assert Tokens().sign_in(verification_code=phone.code()).status == 200
    api = Api(token=bearer(user))
    assert api.opt_in(OTHER_NUMBER).brief == (409, "already_opted_in")
    assert api.opt_out().code == "2fa_code_required"
    assert api.opt_out(phone.code()).status == 200
    assert api.opt_in(NUMBER).code == "factor_disabled"


def test_an_app_lets_a_page_add_and_change_a_number(user: User, file: File, phone: Phone) -> None:
    end_texts(file, 0)
    user = User.objects.get(pk=user.pk)
    assert ask_for(user, NUMBER).outcome is SendOutcome.FACTOR_DISABLED
    add_app(user)
    user.refresh_from_db()
    for number in (NUMBER, OTHER_NUMBER):
        sent = ask_for(user, number)
        assert sent.outcome is SendOutcome.SENT
        done = opt_ins.verify_opt_in(
            user, file_of(), sent.provider_user_id or 0, phone.code(), origin=ORIGIN
        )
        assert done.outcome is CodeOutcome.OK
        user.refresh_from_db()


def file_of() -> File:
    return File.objects.get(pk=777)


def ask_for(user: User, number: str) -> Sending:
    """Ask for a code as a page does, in a session that has proved everything."""
    return opt_ins.opt_in(user, file_of(), number, origin=WEB, standing=standing())
