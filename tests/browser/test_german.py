"""Pages in German, whose words are longer, in a narrow window (P-11, P-13)."""

import re

from playwright.sync_api import Page, expect

from tests.browser.crowd import PASSWORD, Crowd, run
from tests.kit.chromium import NARROW, Site, Window, audit, shoot

_BROKEN = """() => [...document.querySelectorAll("h1, h2, label, button, .button, a")]
    .filter(part => getComputedStyle(part).visibility !== "hidden" && part.offsetWidth)
    .filter(part => {
        const old = part.style.overflowWrap;
        part.style.overflowWrap = "normal";
        const broken = part.scrollWidth > part.clientWidth && part.clientWidth > 0;
        part.style.overflowWrap = old;
        return broken;
    })
    .map(part => part.textContent.trim())"""
"""What holds a word that is wider than its place: it would break in the midst of a syllable."""


def look(page: Page, name: str, heading: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(heading))
    assert page.evaluate("document.documentElement.lang") == "de"
    assert page.evaluate(_BROKEN) == []
    shoot(page, f"german-{name}")
    audit(page)


def test_german_at_320_px(open_page: Window, site: Site, crowd: Crowd) -> None:
    ann = crowd.new()
    page = open_page("/sign-in/", width=NARROW, locale="de-DE")
    look(page, "sign-in", "Anmelden")
    page.get_by_role("button", name="Anmelden").click()
    look(page, "sign-in-error", "Anmelden")
    expect(page.locator(".errors")).to_contain_text("Geben Sie Ihr Passwort ein.")
    page.get_by_label("Benutzername").fill(ann.name)
    page.get_by_label("Passwort").fill(PASSWORD)
    page.get_by_role("button", name="Anmelden").click()
    look(page, "account", "Ihr Konto")
    page.goto("/account/two-factor/")
    look(page, "off", "Zwei-Faktor-Anmeldung ist ausgeschaltet")
    page.get_by_role("link", name="Mit SMS einschalten").click()
    page.get_by_label("Mobilnummer").fill(ann.number)
    page.get_by_role("button", name="Code per SMS senden").click()
    look(page, "code", "Sehen Sie auf Ihr Telefon")
    page.get_by_role("link", name="Keine SMS bekommen?").click()
    # The script counts down in the words of the page's language.
    expect(page.locator("[data-wait] span")).to_have_text(re.compile(r"^in \d+ Sekunden?$"))
    look(page, "not-received", "Keine SMS bekommen?")
    page.get_by_role("link", name="Zurück zum Code").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(
        re.compile("Sehen Sie auf Ihr Telefon")
    )
    page.wait_for_load_state()  # until the script listens
    page.get_by_label("Code").fill(site.newest_text(ann.number)[:7])  # which sends it
    look(page, "success", "Zwei-Faktor-Anmeldung ist eingeschaltet")
    page.get_by_role("link", name="Wiederherstellungscodes erstellen").click()
    look(page, "recovery-codes", "codes$")
    page.goto("/account/two-factor/off/")
    look(page, "turn-off", "Zwei-Faktor-Anmeldung ausschalten")
    page.goto("/account/activity/")
    look(page, "activity", "Aktivitäten")
    path = run(
        site,
        "from optin.messaging import wording\n"
        "from optin.operations import revocations\n"
        "from optin.origin import Face, Origin\n"
        f"user = User.objects.get(username={ann.name!r})\n"
        "revocations.plan(user, reason='tour', origin=Origin(Face.COMMAND))\n"
        "body = wording.mail_for(Notice.objects.filter(user=user).latest('pk')).body\n"
        "out['path'] = '/revocation/' + body.split('/revocation/')[1].split()[0]",
    )["path"]
    page.goto("/account/")
    look(page, "account-revocation", "Ihr Konto")
    page.goto(path)
    look(page, "revocation", "Soll die Zwei-Faktor-Anmeldung eingeschaltet bleiben")
    new = f"{ann.name}@neu.example.org"
    page.goto("/account/email/")
    look(page, "email", "E-Mail-Adresse ändern")
    page.get_by_label("Neue E-Mail-Adresse").fill(new)
    page.get_by_role("button", name="Link senden").click()
    look(page, "account-email-asked", "Ihr Konto")
    page.goto(site.mailed_link(new, "account/email"))
    look(page, "email-confirm", "Bestätigen Sie Ihre neue E-Mail-Adresse")
    page.get_by_role("button", name="Adresse bestätigen").click()
    look(page, "email-confirmed", "Ihre E-Mail-Adresse wird geändert")
    page.goto("/account/")
    look(page, "account-email-waits", "Ihr Konto")
    page.goto(site.mailed_link(ann.email, "email-stop"))
    look(page, "email-stop", "E-Mail-Adresse behalten")
