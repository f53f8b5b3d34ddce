"""One owner of a verified number, and strangers who know everything about her but her password.

After the strangers' actions, she signs in from a known network. Each check returns what keeps her
out, or "".
"""

import ipaddress
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode

import time_machine
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from optin.conf import CLOCK_SLACK, Rate, conf
from optin.conf.sim_swaps import ENFORCE, OBSERVE, OFF, REFUSE
from optin.gateways import Http, Text, every_setting
from optin.gateways.sim_swap import SimUnknown
from optin.models import (
    AccessKey,
    File,
    GatewayHealth,
    Guard,
    KnownNetwork,
    ProviderUser,
    Purpose,
    SendCounter,
    User,
)
from optin.operations import challenges, opt_ins, sim_swaps
from optin.origin import Face, Origin
from optin.runtime import throttle
from tests.kit.authenticator import Authenticator
from tests.kit.browser import HOST, NUMBER_CODE, NUMBER_PAGE, Browser, Page, sign_in
from tests.kit.clients import Answer, Api, bearer
from tests.kit.gateways import made
from tests.kit.people import NOON, ORIGIN, PASSWORD, make_user
from tests.kit.phone import Phone, wrong
from tests.kit.world import Person

HOMES = ("192.0.2.10", "2001:db8:0:1::10")
HER_WAY = {"192.0.2.10": "192.0.2.200", "2001:db8:0:1::10": "2001:db8:0:1:ffff::1"}
"""Another address of the same network."""
ADDRESSES = (
    *("198.51.100.7", "198.51.100.8", "203.0.113.5", "192.0.3.1"),
    *("2001:db8:0:2::1", "2001:db8:9:1::1", "2001:db8:9:2::1"),
)
"""Addresses of strangers: some beside her network, none in it."""
PROXY = "10.0.0.1"
SECRET = "s3cr" * 8

_FEW = ((Rate(1, 300),), (Rate(2, 600), Rate(3, 3600)), (Rate(3, 86_400),))
# She needs some herself: for three visits, of one text each.
_HERS = ((Rate(3, 600),), (Rate(4, 86_400),))
SIMS: dict[str, tuple[Any, ...]] = {
    "SIM_SWAP": (OBSERVE, ENFORCE, ENFORCE, ENFORCE),
    "SIM_SWAP_UNKNOWN": (REFUSE,),
    "SIM_SWAP_HOURS": (1,),
    "SIM_SWAP_BUDGET": ((Rate(1, 86_400),), (Rate(3, 3600),)),
}
THEMES: dict[str, dict[str, tuple[Any, ...]]] = {
    "number": {
        **dict.fromkeys(("SENDS_PER_NUMBER", "SENDS_PER_USER"), _HERS),
        "RESEND_WAIT": ((0,), (5, 90)),
    },
    "passwords": {
        **dict.fromkeys(("FAILED_SIGN_INS_PER_NAME", "FAILED_SIGN_INS_PER_IP"), _FEW),
        "FAILED_SIGN_INS_PER_NAME_TOTAL": _FEW,
        "SENDS_PER_IP": _HERS,
        "SIGN_INS_PER_IP": ((Rate(10, 300),),),
    },
    "budgets": {
        **dict.fromkeys(("SENDS_PER_CLIENT", "SENDS_PER_FILE", "SENDS_TOTAL"), _FEW),
        "OWN_SENDS_TOTAL": ((Rate(1, 86_400),), (Rate(3, 3600),)),
        "BREAKER_UNPROVED": (0, 1, 2),
    },
    "codes": {"OTP_TRIES": (1, 2), "LOCK_AFTER": (1, 2), "DISABLE_AFTER": (1, 3)},
    "requests": {
        "REQUESTS_PER_NETWORK": ((Rate(15, 60),),),
        "REQUESTS_PER_USER": ((Rate(20, 60),),),
    },
}
"""What operators may set: each setting by its name without ``OPTIN_``. In a trace, those of two
themes at most are small: else one limit would stop strangers before they reach another."""
CHOICES = {name: choices for theme in (SIMS, *THEMES.values()) for name, choices in theme.items()}
FIXED = {
    "RECEIPT_SECRET": SECRET,
    "GATEWAYS": ("http",),
    "PASSKEY_SIGN_IN": True,
    "SIM_SWAP_PROVIDER": f"{__name__}.Sims",
}

SHIFTS = (0.3, 4, 29, 61, 299, 600, 3600, 90_000)
WAYS_IN = ("page", "token", "token-2fa", "passkey")
OTHERS = ("", "token", "refresh", "form", "endpoint", "names")
"""What others at her address do just before she comes."""

somebody = st.integers(0, 2)
an_address = st.sampled_from(ADDRESSES)
some_times = st.sampled_from([1, 3, 10])
a_spelling = st.integers(0, 3)
_serial = itertools.count(1)


def taker(phone: Phone) -> Http:
    """The gateway ``http``, whose texts the phone gets."""

    class Taker(Http):
        def send(self, text: Text) -> str:
            return phone.send(text)

    return made(
        Taker,
        url="https://sms.example.com/",
        body='{"to": "{to}", "b": "{body}"}',
        id="id",
        receipt_from="from",
    )


class Sims:
    """The provider that knows of swapped SIMs, and what must follow from its answers about hers.

    The service makes a new one for each question.
    """

    name = "sims"
    LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
    number: ClassVar[str]  # hers
    fault: ClassVar[str]
    swapped_at: ClassVar[datetime]
    asked_at: ClassVar[datetime]
    failed_at: ClassVar[datetime]  # also if it was asked about others
    known_until: ClassVar[datetime]  # how long its last answer lets texts leave
    stopped_until: ClassVar[datetime]  # how long its last "swapped" stops texts and codes

    @classmethod
    def begin(cls, number: str) -> None:
        cls.number, cls.fault = number, ""
        cls.swapped_at = cls.asked_at = cls.failed_at = cls.LONG_AGO
        cls.known_until = cls.stopped_until = cls.LONG_AGO

    def swapped(self, number: str, *, hours: int, patience: float) -> bool:
        now, is_hers = timezone.now(), number == Sims.number
        if is_hers:
            Sims.asked_at = now
        if Sims.fault == "fails":
            Sims.failed_at = now
            raise SimUnknown("it fails")
        if Sims.fault:
            Sims.known_until = now if is_hers else Sims.known_until
            raise SimUnknown(Sims.fault, is_fault=False)
        if not is_hers:
            return False
        is_swapped = now - Sims.swapped_at <= timedelta(hours=hours)
        Sims.known_until = now + sim_swaps.KEPT + CLOCK_SLACK
        if not is_swapped:
            Sims.stopped_until = now
        elif now >= Sims.stopped_until:
            Sims.stopped_until = now + timedelta(hours=conf.sim_swap_hours)
        return is_swapped

    @classmethod
    def was_asked(cls) -> bool:
        """Whether the service asked about her as it must, so that no swap stays unseen."""
        now = timezone.now()
        rests = now < cls.failed_at + sim_swaps.ASK_AGAIN
        is_limited = conf.sim_swap_budget != _DEFAULTS["OPTIN_SIM_SWAP_BUDGET"]
        return conf.sim_swap == OFF or rests or is_limited or now < cls.asked_at + sim_swaps.KEPT

    @classmethod
    def stops_codes(cls) -> bool:
        return conf.sim_swap == ENFORCE and timezone.now() < cls.stopped_until

    @classmethod
    def stops_texts(cls) -> bool:
        refuses = conf.sim_swap == ENFORCE and conf.sim_swap_unknown == REFUSE
        return cls.stops_codes() or (refuses and timezone.now() >= cls.known_until)


class Strangers(RuleBasedStateMachine):
    """New people, files and numbers for each trace. The counters of all begin anew.

    Of three strangers with accounts, the first is a member of her file, the second has an access
    key to another file, and the third has a verified number of their own. One has her access key.
    """

    def __init__(self, phone: Phone, clock: time_machine.Traveller, met: dict[str, int]) -> None:
        super().__init__()
        self.phone, self.clock, self.met = phone, clock, met
        clock.move_to(NOON)
        for model in (Guard, GatewayHealth):
            model.objects.all().delete()
        throttle._counts.cache_clear()
        for name in CHOICES:
            self.set(name, _DEFAULTS[f"OPTIN_{name}"])
        for name, value in FIXED.items():
            self.set(name, value)
        django_settings.TRUSTED_PROXIES = ()
        n = next(_serial)
        self.files = [File.objects.create(id=2 * n + k, name="File") for k in range(2)]
        self.owner = make_user(f"owner{n}", self.files[0])
        self.strangers = [make_user(f"stranger{n}-{k}", self.files[k % 2]) for k in range(3)]
        self.number, self.other = (f"+6149{2 * n + k:07d}" for k in range(2))
        Sims.begin(self.number)
        self.hers = self.opt_in(self.owner, self.files[0], self.number)
        self.theirs = self.opt_in(self.strangers[2], self.files[0], self.other)
        self.keys = self.passkey_of(self.owner)
        User.objects.filter(pk=self.owner.pk).update(text_first=True)
        self.their_keys = self.passkey_of(self.strangers[0])
        forged = replace(self.keys.keys[0], private=self.their_keys.keys[0].private)
        self.forged_keys = Authenticator(keys=[forged])
        clock.move_to(NOON)
        year = timedelta(days=366)
        self.http = Client(SERVER_NAME=HOST)
        self.apis = [
            Api(token=bearer(self.strangers[0], lifetime=year), file_id=2 * n, http=self.http),
            Api(
                key=AccessKey.objects.make(self.strangers[1], self.files[1], NOON)[1],
                file_id=2 * n + 1,
                http=self.http,
            ),
            Api(token=bearer(self.strangers[2], lifetime=year), file_id=2 * n, http=self.http),
        ]
        # A thief has her own key.
        key = AccessKey.objects.make(self.owner, self.files[0], NOON)[1]
        self.her_program = Api(key=key, file_id=2 * n, http=self.http)
        self.anybody = Api(http=self.http)
        self.home, self.is_behind_proxy = HOMES[0], False
        self.visits = 0
        self.texted = ""  # the last code
        self.texted_at: datetime | None = None  # if she did not enter it

    def set(self, name: str, value: Any) -> None:
        setattr(django_settings, f"OPTIN_{name}", value)

    def opt_in(self, user: User, file: File, number: str) -> int:
        sending = opt_ins.opt_in(user, file, number, origin=ORIGIN)
        assert sending.provider_user_id
        code = self.phone.code_to(number)
        opt_ins.verify_opt_in(user, file, sending.provider_user_id, code, origin=ORIGIN)
        return sending.provider_user_id

    def passkey_of(self, user: User) -> Authenticator:
        person = Person(user, self.files[0], self.phone, self.clock)
        person.add_passkey()
        return person.keys

    @initialize(home=st.sampled_from(HOMES), is_behind_proxy=st.booleans(), data=st.data())
    def begin(self, home: str, is_behind_proxy: bool, data: st.DataObject) -> None:
        """With some limits that few requests reach; she signed in at home once before."""
        self.live_at(home)
        self.is_behind_proxy = is_behind_proxy
        if is_behind_proxy:
            django_settings.TRUSTED_PROXIES = (ipaddress.ip_network("10.0.0.0/8"),)
        themes = data.draw(st.lists(st.sampled_from(sorted(THEMES)), max_size=2))
        for theme in (SIMS, *(THEMES[name] for name in themes)):
            for name, choices in theme.items():
                self.set(name, data.draw(st.sampled_from((_DEFAULTS[f"OPTIN_{name}"], *choices))))

    def live_at(self, home: str) -> None:
        self.home = home
        at_home = Origin(Face.WEB, ip=home)
        challenges.challenge(self.owner, Purpose.SIGN_IN, origin=at_home)
        code = self.phone.code_to(self.number)
        challenges.check(self.owner, Purpose.SIGN_IN, code, origin=at_home)
        assert KnownNetwork.objects.filter(user=self.owner).exists()
        SendCounter.objects.all().delete()
        self.clock.shift(86_400)  # her own texts count no more

    # -- how requests come ---------------------------------------------------------

    def environ(self, ip: str, says: str = "") -> dict[str, Any]:
        """The variables of a request from *ip*, which says that it comes from elsewhere."""
        hops = [hop for hop in (says, ip if self.is_behind_proxy else "") if hop]
        forwarded = {"HTTP_X_FORWARDED_FOR": ", ".join(hops)} if hops else {}
        return {"REMOTE_ADDR": PROXY if self.is_behind_proxy else ip, **forwarded}

    def lying(self, ip: str) -> dict[str, Any]:
        """A stranger says that they are her."""
        return self.environ(ip, says=self.home)

    def post(self, address: str, ip: str, data: dict[str, str]) -> int:
        """Send a form to a page, with the cookies of before."""
        return self.http.post(address, data, secure=True, **self.lying(ip)).status_code

    def report(self, secret: str, facts: dict[str, str], **environ: Any) -> None:
        """Send a receipt, as a gateway does."""
        body = json.dumps(facts)
        self.http.post(f"/receipts/http/{secret}", body, "application/json", **environ)

    def call_token(
        self, call: str, environ: dict[str, Any], body: dict[str, str], media_type: str = ""
    ) -> Answer:
        return self.anybody.send(
            "POST",
            f"/authorisation/{call}",
            urlencode(body) if media_type else json.dumps(body),
            media_type=media_type or "application/json",
            **environ,
        )

    def spelled(self, spelling: int) -> str:
        name, email = self.owner.username, self.owner.email
        wide = "".join(chr(ord(char) + 0xFEE0) for char in name)
        return (name, name.upper(), email, wide)[spelling]

    # -- what strangers do ---------------------------------------------------------

    @rule(
        who=st.integers(0, 3),
        of_hers=st.sampled_from([True, True, False]),
        spaced=st.booleans(),
        ip=an_address,
        times=st.sampled_from([1, 10]),
        pause=st.sampled_from([121, 121, 0]),
    )
    def ask_for_her_number(
        self, who: int, of_hers: bool, spaced: bool, ip: str, times: int, pause: int
    ) -> None:
        """Her number or another, at once or after each wait, as one stranger or all in turn."""
        number = self.number if of_hers else f"+61491{next(_serial) % 10**6:06d}"
        written = f"0{number[3:6]} {number[6:9]} {number[9:]}" if spaced else number
        for n in range(times):
            api = self.apis[who] if who < 3 else self.apis[n % 3]
            api.opt_in(written, **self.lying(ip))
            self.clock.shift(pause)

    @rule(
        who=somebody,
        whose=st.sampled_from(["hers", "theirs"]),
        in_her_file=st.booleans(),
        ip=an_address,
        times=some_times,
    )
    def guess_at_opt_ins(
        self, who: int, whose: str, in_her_file: bool, ip: str, times: int
    ) -> None:
        """Guess codes for her number, or for a number that the stranger asked for."""
        api, guess = self.apis[who], wrong(self.phone.code_to(self.number))
        pk = self.hers
        if whose == "theirs":
            row = ProviderUser.objects.filter(user=self.strangers[who]).order_by("-pk").first()
            pk = row.pk if row else self.hers + 1
        query = api.query()
        if in_her_file:
            query = urlencode({"WsAccessKey": api.key, "FileId": self.files[0].pk})
        for _ in range(times):
            api.verify(pk, guess, query=query, **self.lying(ip))

    @rule(who=somebody, guesses=st.booleans(), ip=an_address, times=some_times)
    def ask_to_opt_out(self, who: int, guesses: bool, ip: str, times: int) -> None:
        for _ in range(times):
            self.apis[who].opt_out("1234567" if guesses else None, **self.lying(ip))

    @rule(call=st.sampled_from(["ask", "off", "verify", "opt in"]), ip=an_address, times=some_times)
    def use_her_key(self, call: str, ip: str, times: int) -> None:
        """Ask for codes and guess at them, also at those with which she signs in."""
        guess = wrong(self.phone.code_to(self.number))
        for _ in range(times):
            if call == "opt in":
                self.her_program.opt_in(self.other, **self.lying(ip))
            elif call == "verify":
                self.her_program.verify(self.hers, guess, **self.lying(ip))
            else:
                otp = guess if call == "off" else None
                self.her_program.opt_out(otp, **self.lying(ip))

    @rule(spelling=a_spelling, is_hers=st.booleans(), ip=an_address, times=some_times)
    def try_passwords_on_the_page(self, spelling: int, is_hers: bool, ip: str, times: int) -> None:
        name = self.spelled(spelling) if is_hers else "nobody"
        for n in range(times):
            self.post("/sign-in/", ip, {"username": name, "password": f"wrong {n}"})

    @rule(
        call=st.sampled_from(["token", "token-2fa"]),
        spelling=a_spelling,
        code=st.sampled_from(["", "1234567", "123456", "abcd-efgh-ijkl-mnop"]),
        ip=an_address,
        times=some_times,
    )
    def try_passwords_by_token_calls(
        self, call: str, spelling: int, code: str, ip: str, times: int
    ) -> None:
        form = "application/x-www-form-urlencoded" if len(code) == 6 else ""
        for n in range(times):
            body = {"grant_type": "password", "username": self.spelled(spelling)}
            body |= {"password": f"wrong {n}", "verification_code": code}
            self.call_token(call, self.lying(ip), body, form)

    @rule(ip=an_address, times=some_times)
    def refresh_made_up_tokens(self, ip: str, times: int) -> None:
        for n in range(times):
            body = {"grant_type": "refresh_token", "refresh_token": f"made up {n}"}
            self.call_token("refresh", self.lying(ip), body)
            self.http.post("/o/token/", {"client_id": f"made up {n}"}, **self.lying(ip))

    @rule(spelling=a_spelling, ip=an_address, times=some_times)
    def ask_for_a_new_password(self, spelling: int, ip: str, times: int) -> None:
        for _ in range(times):
            self.post("/password-reset/", ip, {"email": self.spelled(spelling)})

    @rule(
        address=st.sampled_from(
            [
                *("/sign-in/code/", "/sign-in/code/send/", "/sign-in/recovery/", "/sign-in/lost/"),
                *("/password-reset/{}/a-b/", "/not-me/{}:x/", "/revocation/{}:x/", "/r/{}"),
                *("/email-stop/{}:x/", "/account/email/{}:x/"),
            ]
        ),
        ip=an_address,
    )
    def knock_at_doors_without_a_password(self, address: str, ip: str) -> None:
        """Pages for signing in and recovery, and behind links that only her mails contain."""
        made_up = {"code": "1234567", "password": "wrong", "recovery": "abcd-efgh-ijkl-mnop"}
        self.post(address.format(self.owner.pk), ip, made_up)

    @rule(
        of_her=st.booleans(),
        state=st.sampled_from(["opted_out", "failed", "delivered"]),
        ip=an_address,
        times=some_times,
    )
    def report_to_the_gateways_address(self, of_her: bool, state: str, ip: str, times: int) -> None:
        """About her with a made-up secret, or about the own phone with the right one."""
        secret = "guessed" if of_her else SECRET
        number = self.number if of_her else self.other
        for n in range(times):
            facts = {"from": number, "status": state, "reference": f"none-{n}"}
            self.report(secret, facts, **self.lying(ip))

    @rule(
        who=somebody,
        then=st.sampled_from(["send", "guess", "lost", "leave"]),
        ip=an_address,
        times=some_times,
    )
    def sign_in_with_an_account_of_their_own(
        self, who: int, then: str, ip: str, times: int
    ) -> None:
        name = self.strangers[who].username
        self.http.cookies.clear()
        for _ in range(times):
            self.post("/sign-in/", ip, {"username": name, "password": PASSWORD})
            if then == "send":
                self.post("/sign-in/code/send/", ip, {})
            if then == "guess":
                self.post("/sign-in/code/", ip, {"code": "1234567"})
            if then == "lost":
                self.post("/sign-in/lost/", ip, {})
        self.http.cookies.clear()

    @rule(
        what=st.sampled_from(["theirs", "forged", "garbage"]),
        ip=an_address,
        times=st.sampled_from([1, 10, 30]),
    )
    def answer_with_passkeys(self, what: str, ip: str, times: int) -> None:
        """Their own, one that claims to be hers, and what is none."""
        for _ in range(times):
            shown = self.http.get("/sign-in/", secure=True, **self.lying(ip))
            page = Page("/sign-in/", shown.status_code, shown.content.decode())
            if not page.options:
                break  # too many requests
            keys = self.their_keys if what == "theirs" else self.forged_keys
            answer = "{}" if what == "garbage" else keys.get(page.options)
            challenge = page.passkey_form.fields["challenge"]
            self.post("/sign-in/", ip, {"passkey": answer, "challenge": challenge})
            self.http.cookies.clear()
            self.clock.shift(0.1)

    @rule(who=st.integers(0, 1), wants=st.sampled_from(["number", "mail", "name"]), ip=an_address)
    def claim_what_is_hers_on_pages(self, who: int, wants: str, ip: str) -> None:
        """Claim her number and guess its code, or her address or name as an email address."""
        self.http.cookies.clear()
        name = self.strangers[who].username
        self.post("/sign-in/", ip, {"username": name, "password": PASSWORD})
        if wants == "number":
            self.post(NUMBER_PAGE, ip, {"number": self.number})
            for _ in range(3):
                self.post(f"{NUMBER_CODE}send/", ip, {})
                self.post(NUMBER_CODE, ip, {"code": "1234567"})
        else:
            hers = self.owner.email if wants == "mail" else f"{self.owner.username}@x.example"
            self.post("/account/email/", ip, {"email": hers})
        self.http.cookies.clear()

    @rule(sim=st.sampled_from(["swapped", "swapped", "fails", "unknown", "works"]))
    def get_another_sim_of_her_number(self, sim: str) -> None:
        """Or make the provider fail, not know the number, or work again."""
        if sim == "swapped":
            Sims.swapped_at = timezone.now()
        else:
            Sims.fault = "" if sim == "works" else sim

    # -- what time and she do ------------------------------------------------------

    @rule(seconds=st.sampled_from(SHIFTS))
    def time_passes(self, seconds: float) -> None:
        self.clock.shift(seconds)

    @precondition(lambda self: self.visits < 2)
    @rule(way=st.sampled_from(WAYS_IN), enters=st.booleans(), others=st.sampled_from(OTHERS))
    def she_comes(self, way: str, enters: bool, others: str) -> None:
        """Before the end, too: then she may have a code that she did not enter."""
        self.visits += 1
        self.gets_in(way, enters=enters, others=others)

    def others_at_her_address(self, what: str, ip: str) -> None:
        """Use up what requests without a password may, or wrong passwords for other names.

        Few of these: the limit on requests with a password would stop her too.
        """
        self.set("REQUESTS_PER_NETWORK", (Rate(15, 60),))
        self.set("FAILED_SIGN_INS_PER_IP", (Rate(1, 300),))
        for n in range(2 if what == "names" else 16):
            environ = self.environ(ip)
            if what in {"token", "refresh"}:
                self.call_token(what, environ, {})
            elif what == "endpoint":
                self.http.post("/o/token/", {"client_id": "made up"}, **environ)
            else:
                form = {"username": f"nobody {n}", "password": "wrong" if what == "names" else ""}
                self.http.post("/sign-in/", form, secure=True, **environ)

    def teardown(self) -> None:
        """Whatever was done, she gets in: also with a swapped SIM, and when that is over."""
        self.gets_in(WAYS_IN[len(self.phone.messages) % len(WAYS_IN)])
        if conf.sim_swap == OFF:
            return
        self.clock.shift(86_400)  # her own texts count no more
        self.gets_in("token", enters=False)
        self.get_another_sim_of_her_number("swapped")
        self.clock.shift(sim_swaps.KEPT)
        self.gets_in("token")
        self.get_another_sim_of_her_number("works")
        self.clock.shift(timedelta(hours=conf.sim_swap_hours + 1))
        self.gets_in("token")
        assert not Sims.stops_texts()

    def gets_in(self, way: str, *, enters: bool = True, others: str = "") -> None:
        self.clock.shift(0.1)  # else her passkey gets two challenges at one moment
        n = len(self.phone.messages)
        ip = HER_WAY[self.home] if n % 2 else self.home
        if others:
            self.others_at_her_address(others, ip)
        kept_out = self.visit(way, ip, self.spelled(n % 4), enters=enters)
        assert not kept_out, kept_out

    # -- what holds ----------------------------------------------------------------

    def visit(self, way: str = "page", ip: str = "", name: str = "", *, enters: bool = True) -> str:
        """She signs in. Return what keeps her out: nothing must.

        :param enters: whether she enters the code that she gets.
        """
        self.meets(way)
        come = {"page": self.by_page, "passkey": self.by_passkey}.get(way, self.by_token_call)
        return come(way, ip or self.home, name or self.owner.username, enters)

    def meets(self, what: str) -> None:
        self.met[what] = self.met.get(what, 0) + 1

    def by_page(self, way: str, ip: str, name: str, enters: bool) -> str:
        browser = Browser(ip=ip)
        browser.client.defaults.update(self.environ(ip))
        code, kept_out = self.code_of(lambda: sign_in(browser, name))
        if browser.path != "/sign-in/code/":
            return f"{browser.page.status} {browser.page.errors or browser.page.heading}"
        if Sims.stops_texts():
            browser.use_passkey(self.keys.get)
            return "" if browser.path == "/account/" else browser.page.errors
        if not code:
            code, kept_out = self.waited(lambda: self.send_again(browser))
        if not code or not enters:
            return kept_out and f"{kept_out}: {browser.page.flash}"
        self.texted_at = None
        browser.send(code=code)
        return "" if browser.path == "/account/" else browser.page.errors

    def by_passkey(self, way: str, ip: str, name: str, enters: bool) -> str:
        """With her passkey alone; as ever where others used up what needs no password."""
        browser = Browser(ip=ip)
        browser.client.defaults.update(self.environ(ip))
        browser.go("/sign-in/")
        browser.use_passkey(self.keys.get)
        if browser.page.status == 429:
            return self.by_page(way, ip, name, enters)
        self.meets("passkey alone")
        return "" if browser.path == "/account/" else browser.page.errors or browser.page.heading

    def send_again(self, browser: Browser) -> None:
        browser.go("/sign-in/code/not-received/")
        browser.send("/sign-in/code/send/")

    def by_token_call(self, way: str, ip: str, name: str, enters: bool) -> str:
        body = {"grant_type": "password", "username": name, "password": PASSWORD}
        answers = []

        def ask(**code: str) -> None:
            answers.append(self.call_token(way, self.environ(ip), {**body, **code}))

        code, kept_out = self.code_of(ask)
        if Sims.stops_texts():
            if Sims.stops_codes() and self.texted:
                self.meets("a code from before" if self.texted_at else "a used code")
                ask(verification_code=self.texted)
            assert all(answer.status != 200 for answer in answers)
            return self.by_page(way, ip, name, enters)
        if answers[-1].data["error"] != "2fa_code_required":
            return str(answers[-1].data)
        if not code:
            code, kept_out = self.waited(ask)
        if not code or not enters:
            return kept_out
        self.texted_at = None
        ask(verification_code=code)
        return "" if answers[-1].status == 200 else str(answers[-1].data)

    def code_of(self, ask: Callable[[], object]) -> tuple[str, str]:
        """Return the code for signing in that her phone gets, and what is wrong if none comes.

        None comes while her SIM counts as swapped (S-07a).
        """
        before = len(self.phone.messages)
        ask()
        assert Sims.was_asked()
        self.meets("no text" if Sims.stops_texts() else "text")
        for to, body in self.phone.messages[before:]:
            if to == self.number and " to sign in. " in body:
                assert not Sims.stops_texts()
                self.texted, self.texted_at = body.split()[0], timezone.now()
                return self.texted, ""
        return "", "no text"

    def waited(self, ask: Callable[[], object]) -> tuple[str, str]:
        """Ask once more when the resend wait is over, if a text of hers began one."""
        wait = timedelta(seconds=max(conf.resend_wait))
        if self.texted_at is None or timezone.now() - self.texted_at >= wait:
            return "", "no text at once"
        self.meets("waited")
        self.clock.move_to(self.texted_at + wait)
        return self.code_of(ask)


_DEFAULTS = {setting.name: setting.default for setting in every_setting()}
