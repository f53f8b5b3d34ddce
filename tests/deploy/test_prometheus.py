"""The alerts and the dashboard: Prometheus accepts them, and they name what there is."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import LazySettings
from django.db import transaction
from django.test import Client
from django.utils import timezone

from optin.messaging import delivery
from optin.models import File, Notice, User
from optin.operations import opt_ins
from optin.runtime import metrics
from tests.kit.documents import RUN
from tests.kit.people import NUMBER, ORIGIN
from tests.kit.phone import Phone
from tests.kit.server import METRICS_TOKEN, ROOT, needs

pytestmark = pytest.mark.django_db(transaction=True)

FOLDER = ROOT / "deploy" / "prometheus"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load((FOLDER / "rules.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
}
TESTS = yaml.safe_load((FOLDER / "rules.test.yml").read_text("utf-8"))["tests"]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "optin.json").read_text("utf-8"))


def promtool(*arguments: str) -> str:
    needs("promtool", bool(shutil.which("promtool")))
    done = subprocess.run(
        ["promtool", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# -- the alerts --------------------------------------------------------------------


def test_prometheus_accepts_the_rules() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "rules.yml")
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_each_alert_fires_when_it_should() -> None:
    promtool("test", "rules", "rules.test.yml")


@pytest.mark.parametrize("name", RULES)
def test_each_alert_is_tested_both_ways(name: str) -> None:
    cases = [case for test in TESTS for case in test["alert_rule_test"]]
    assert {bool(case["exp_alerts"]) for case in cases if case["alertname"] == name} == {
        True,
        False,
    }


@pytest.mark.parametrize("name", RULES)
def test_each_alert_is_told_in_the_docs(name: str) -> None:
    """With the same severity, and the same link."""
    rule = RULES[name]
    row = re.search(rf"^\| `{name}` \| (\w+) \| .*\(([a-z-.]*#[a-z-]+)\).* \|$", RUN, re.MULTILINE)
    assert row, "it has no row"
    severity, place = row.groups()
    assert severity == rule["labels"]["severity"]
    assert rule["annotations"]["docs"] == f"docs/{'run.md' if place[0] == '#' else ''}{place}"
    assert rule["annotations"]["summary"].endswith(".")


# -- the dashboard -----------------------------------------------------------------


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    """All that the panels and the alerts ask Prometheus for."""
    yield from (rule["expr"] for rule in RULES.values())
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")


def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": asked} for n, asked in enumerate(expressions())]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(tmp_path / "panels.yml"))


# -- what both of them name --------------------------------------------------------

OTHERS = {
    # Metrics of Prometheus itself, its node_exporter and blackbox_exporter.
    "up": {"job", "instance"},
    "ALERTS": {"alertname", "alertstate"},
    "node_filesystem_avail_bytes": {"job", "fstype"},
    "node_filesystem_size_bytes": set(),
    "node_systemd_unit_state": {"name", "state"},
    "node_systemd_timer_last_trigger_seconds": {"name"},
    "probe_ssl_earliest_cert_expiry": {"job"},
}
_PARTS = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def page(client: Client) -> str:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    return answer.content.decode()


@pytest.mark.postgresql
def test_each_metric_is_there_and_told(
    client: Client, settings: LazySettings, user: User, file: File, phone: Phone
) -> None:
    """Those of alerts and panels, with their labels; and the reference says all."""
    settings.METRICS_TOKEN, settings.OPTIN_DELIVERY = METRICS_TOKEN, "worker"
    opt_ins.opt_in(user, file, NUMBER, origin=ORIGIN)
    with transaction.atomic():
        delivery.notify(user, Notice.Kind.PASSWORD, timezone.now())
    delivery.send_due(timezone.now())
    metrics.SIM_SWAPS.labels("no").observe(0.1)
    page(client)  # so that this request is counted, too
    text = page(client)
    there = {
        f"{name}{part}": _labels(f"{name}{part}", text)
        for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
        for part in _PARTS[kind]
        if not name.endswith("_created")
    }
    used = {
        (name, label)
        for asked in expressions()
        for name, matchers in re.findall(
            r"\b((?:optin|node|probe)_\w+|up|ALERTS)\b(?:{(.*?)})?", asked
        )
        for label in re.findall(r"(\w+)[=!]~?\"", matchers) or [""]
    }
    for name, label in used:
        known = (there | OTHERS).get(name)
        assert known is not None, f"{name} is not in /metrics"
        assert label in {*known, ""}, f"{name} has no label {label}"
    words = dict(re.findall(r"^# HELP (\w+) (.*)$", text, re.MULTILINE))
    assert sorted(metrics.every_metric()) == sorted(
        (name, tuple(_labels(name + _PARTS[kind][-1], text)), words[name])
        for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
        if not name.endswith("_created")
    )


def _labels(name: str, text: str) -> list[str]:
    """The labels of a metric, but for the bounds of a histogram."""
    found = re.search(rf"^{name}{{(.*)}} ", text, re.MULTILINE)
    return [label for label in re.findall(r'(\w+)="', found[1]) if label != "le"] if found else []
