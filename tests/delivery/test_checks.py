"""What the checks say of texts before any leaves."""

from typing import Any

import pytest
from django.conf import LazySettings

from optin import checks
from optin.conf import MAX_HOST
from tools import checks as tools_checks

KANNEL = {"OPTIN_GATEWAYS": ("kannel",), "OPTIN_RECEIPT_SECRET": "s" * 32}
HTTP = KANNEL | {"OPTIN_GATEWAYS": ("http",)}
HERE = "http://127.0.0.1:13013/cgi-bin/sendsms"
THERE = "http://kannel.example.com:13013/cgi-bin/sendsms"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"OPTIN_GATEWAYS": ("simulator",)}, []),
        ({"OPTIN_GATEWAYS": ("kannel",)}, ["W204"]),
        (KANNEL, []),
        (HTTP, ["W218"]),
        (HTTP | {"OPTIN_GATEWAY_HTTP_ID": "id"}, []),
        (HTTP | {"OPTIN_GATEWAY_HTTP_TAKEN": ("status", "ok")}, []),
        (KANNEL | {"OPTIN_GATEWAY_KANNEL_URL": HERE}, []),
        (KANNEL | {"OPTIN_GATEWAY_KANNEL_URL": THERE}, ["W205"]),
        (KANNEL | {"OPTIN_GATEWAY_KANNEL_URL": THERE.replace("http:", "https:")}, []),
    ],
)
def test_what_a_deployment_is_warned_of(
    settings: LazySettings, given: dict[str, Any], found: list[str]
) -> None:
    for name, value in given.items():
        setattr(settings, name, value)
    assert [message.id for message in checks.check_delivery()] == [f"optin.{id_}" for id_ in found]


def test_every_region_has_a_gateway(settings: LazySettings) -> None:
    given = KANNEL | {
        "OPTIN_GATEWAY_KANNEL_URL": HERE,
        "OPTIN_GATEWAY_KANNEL_USER": "optin",
        "OPTIN_GATEWAY_KANNEL_PASSWORD": "secret",
        "OPTIN_GATEWAY_KANNEL_REGIONS": ("AU",),
        "OPTIN_SMS_REGIONS": ("AU", "NZ"),
    }
    for name, value in given.items():
        setattr(settings, name, value)
    [error] = checks.check_gateways()
    assert (error.id, "serves NZ," in error.msg) == ("optin.E114", True)
    settings.OPTIN_GATEWAYS = ("kannel", "simulator")
    assert checks.check_gateways() == []


def test_the_longest_link_of_a_removal_fits(settings: LazySettings) -> None:
    """With the setting only: without it no such text leaves."""
    settings.OPTIN_RECOVERY_DELAY = 86_400
    settings.OPTIN_SERVICE_NAME = "n" * 20
    settings.BASE_URL = f"https://{'h' * (MAX_HOST - 12)}.example.com"
    assert tools_checks.check_texts() == []
    settings.BASE_URL += ":8443"
    found = [error.msg.partition(" takes ")[0] for error in tools_checks.check_texts()]
    assert found == ["The text removal in en-au", "The text removal in de"]
    settings.OPTIN_RECOVERY_DELAY = 0
    assert tools_checks.check_texts() == []
