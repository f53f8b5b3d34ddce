"""The parts that pages are made of, and the script, on a page that has them all."""

from typing import Any

import pytest
from django import forms
from django.template import engines
from django.utils import timezone
from playwright.sync_api import Page, Request, Route, expect

from tests.kit.chromium import Window, audit


class Everything(forms.Form):
    name = forms.CharField(label="User name or email")
    password = forms.CharField(widget=forms.PasswordInput)
    file = forms.ChoiceField(choices=[("777", "Harbour Books"), ("888", "Ridge Bakery")])
    way = forms.ChoiceField(
        label="How do you want to get the code?",
        choices=[("sms", "A text message"), ("app", "An authenticator app")],
        widget=forms.RadioSelect,
    )


PAGE = """
{% extends "base.html" %}
{% block title %}Everything{% endblock %}
{% block main %}
  {% include "parts/errors.html" %}
  <h1>Set up two-factor authentication</h1>
  <form method="post" novalidate>
    {% for field in form %}{% include "parts/field.html" %}{% endfor %}
    <button type="submit">Continue</button>
  </form>
  <form method="post" action="/again" class="again">
    {% include "parts/wait.html" %}
    <button type="submit">Send again</button>
  </form>
{% endblock %}
"""


class Show:
    """Serves the page at /parts, with the policy of the site, and counts what is posted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.posted: list[str] = []

    def __call__(self, *, data: dict[str, str] | None = None, **context: Any) -> Page:
        form = Everything(data)
        html = engines["django"].from_string(PAGE).render({"form": form, **context})
        policy = self.page.request.get("/").headers["content-security-policy"]

        def answer(route: Route, request: Request) -> None:
            if request.method == "POST":
                self.posted.append(request.post_data or "")
                route.fulfill(status=204)
            else:
                headers = {"content-security-policy": policy}
                route.fulfill(body=html, content_type="text/html", headers=headers)

        self.page.route("**/parts", answer)
        self.page.route("**/again", answer)
        self.page.goto("/parts")
        return self.page


@pytest.fixture
def show(open_page: Window) -> Show:
    return Show(open_page())


@pytest.mark.parametrize("scripts", [True, False])
def test_error_summary_has_the_focus_and_leads_to_the_field(
    scripts: bool, open_page: Window
) -> None:
    """P-10."""
    page = Show(open_page(scripts=scripts))(data={})
    assert page.title().startswith("Error: Everything")
    expect(page.get_by_role("alert")).to_be_focused()
    for field, link in zip(
        ["name", "password", "file", "way_0"],
        page.get_by_role("alert").get_by_role("link").all(),
        strict=True,
    ):
        link.click()
        expect(page.locator(f"#id_{field}")).to_be_focused()


def test_password_is_shown_until_the_form_is_sent(show: Show) -> None:
    page = show()
    field = page.get_by_label("Password", exact=True)
    button = page.get_by_role("button", name="Show Password", exact=True)
    expect(button).to_have_attribute("aria-pressed", "false")
    field.fill("correct horse")
    button.click()
    expect(field).to_have_attribute("type", "text")
    expect(field).to_have_attribute("spellcheck", "false")
    expect(field).to_have_value("correct horse")
    pressed = page.get_by_role("button", name="Hide Password", exact=True)
    expect(pressed).to_have_attribute("aria-pressed", "true")
    audit(page)
    pressed.press("Space")
    expect(field).to_have_attribute("type", "password")
    button.press("Space")
    assert show.posted == []
    page.get_by_role("button", name="Continue").click()
    expect(field).to_have_attribute("type", "password")
    expect(button).to_have_attribute("aria-pressed", "false")
    page.wait_for_timeout(200)
    assert [post.count("password=correct+horse") for post in show.posted] == [1]


def test_back_gives_the_form_again(show: Show) -> None:
    page = show()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("button", name="Continue")).to_be_disabled()
    page.evaluate("window.dispatchEvent(new PageTransitionEvent('pageshow'))")
    expect(page.get_by_role("button", name="Continue")).to_be_enabled()


def test_wait_is_counted_down_and_its_end_said_once(show: Show) -> None:
    """P-05: politely."""
    page = show(resend_in=62, resend_at=timezone.now())
    page.clock.install()
    page.goto("/parts")
    again, wait = page.get_by_role("button", name="Send again"), page.locator("[data-wait]")
    status = page.locator(".again").get_by_role("status")
    expect(again).to_be_disabled()
    expect(wait).to_have_text("You can send it again in 62 seconds")
    page.clock.run_for(61_000)
    expect(wait).to_have_text("You can send it again in 1 second")
    expect(status).to_be_empty()
    expect(again).to_be_disabled()
    page.clock.run_for(1_000)
    expect(wait).to_be_hidden()
    expect(status).to_have_text("You can send it again now.")
    expect(again).to_be_enabled()
