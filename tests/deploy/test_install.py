"""docs/install.md leads to a text: its commands run on a Debian with nothing of the service."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.clusters import BIN
from tests.kit.debian import Debian, new_debian
from tests.kit.documents import (
    INSTALL,
    INSTALL_COMMANDS,
    INSTALL_STEPS,
    TRIAL_COMMANDS,
    TRIAL_STEPS,
)
from tests.kit.server import ROOT, needs, until

HOST = "2fa.harbour.test"
PASSWORD = "correct horse battery staple"
NUMBER = "0491 570 156"
SETTINGS = Path("etc/optin/production.env")
OWNER = Path("etc/optin/owner.env")

# It takes a text as Kannel does, and writes it to /run/texts.
GATEWAY = """
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with open("/run/texts", "a") as texts:
            print(json.dumps([self.headers["X-Kannel-To"], body]), file=texts)
        self.send_response(202)
        self.end_headers()
        self.wfile.write(b"0: Accepted for delivery")

HTTPServer(("127.0.0.1", 13013), Handler).serve_forever()
"""


# Writes the paths that are asked for to /run/pings.
PINGS = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with open("/run/pings", "a") as pings:
            print(self.path, file=pings)
        self.send_response(204)
        self.end_headers()

HTTPServer(("127.0.0.1", 8099), Handler).serve_forever()
"""

TIMERS = [path.name for path in sorted((ROOT / "deploy" / "systemd").glob("*.timer"))]


@pytest.fixture(autouse=True)
def clock() -> None:
    """Real time: the other processes have it too."""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the files as they are here, to clone from."""
    folder = tmp_path_factory.mktemp("clone") / "origin"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (release,) = re.findall(r"--branch (\S+) ", INSTALL_COMMANDS[1])
    commands = ("init --quiet", "add --all", "commit --quiet --message Here", f"tag {release}")
    for command in commands:
        account = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        subprocess.run(["git", *account, *command.split()], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages, for a machine that reaches no index."""
    folder = tmp_path_factory.mktemp("packages") / "wheels"
    venv = folder.parent / "venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", venv], check=True)
    options = ["--quiet", "--no-deps", "--require-hashes", "--dest", str(folder)]
    requirements = str(ROOT / "requirements.txt")
    subprocess.run([f"{venv}/bin/pip", "download", *options, "-r", requirements], check=True)
    return folder


@contextmanager
def fresh(folder: Path, origin: Path, wheels: Path) -> Iterator[Debian]:
    """A Debian after the first command: what it installs runs, and a gateway."""
    packages = INSTALL_COMMANDS[0].partition("install -y ")[2].split()
    assert packages
    for package in {*packages} - {"certbot", "nano"}:  # see run()
        needs(package, subprocess.run(["dpkg", "-s", package], capture_output=True).returncode == 0)
    with new_debian(folder, origin, wheels) as debian:
        debian.must(f"echo 127.0.0.1 {HOST} >>/etc/hosts")
        version = BIN.parent.name
        debian.must(f"pg_dropcluster {version} main || true; pg_createcluster {version} main")
        debian.must(f"systemctl start postgresql@{version}-main nginx")
        write(debian, Path("run/gateway.py"), GATEWAY)
        debian.must("systemd-run --quiet python3 /run/gateway.py")
        yield debian


def path_in(debian: Debian, path: Path) -> Path:
    return Path(f"/proc/{debian.pid}/root") / path


def read(debian: Debian, path: Path) -> str:
    return path_in(debian, path).read_text()


def lines(debian: Debian, path: Path) -> list[str]:
    """The lines of a file of settings that set something."""
    return re.findall(r"^\w+=.*$", read(debian, path), re.MULTILINE)


def write(debian: Debian, path: Path, text: str) -> None:
    path_in(debian, path).write_text(text)


# -- what somebody does where a test cannot ----------------------------------------


def edit(debian: Debian) -> None:
    """Step 4, as its table says. The gateway is one that a test can make."""
    ours = {
        "BASE_URL": f"https://{HOST}",
        "OPTIN_SERVICE_NAME": "Harbour-Books",
        "OPTIN_SUPPORT": "help@harbour.test",
        "EMAIL_URL": "smtp://127.0.0.1:25",
        "DEFAULT_FROM_EMAIL": "no-reply@harbour.test",
        "OPTIN_GATEWAYS": "kannel\nOPTIN_GATEWAY_KANNEL_URL=http://localhost:13013/cgi-bin/sendsms"
        "\nOPTIN_GATEWAY_KANNEL_USER=optin\nOPTIN_GATEWAY_KANNEL_PASSWORD=secret"
        "\nOPTIN_FICTIONAL_NUMBERS=yes",
    }
    deleted = r"(OPTIN_GATEWAY_HTTP_\w+|OPTIN_SENDERS|OPTIN_SENDERS_REGISTERED)=.*\n"
    text = re.sub(rf"^{deleted}", "", read(debian, SETTINGS), flags=re.MULTILINE)
    for name, value in ours.items():
        assert name in INSTALL_STEPS
        text, found = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert found == 1, name
    write(debian, SETTINGS, text)


def certificate(debian: Debian) -> None:
    """Step 5: no authority signs for a test. Its challenge is answered, before and after."""
    folder = f"/etc/letsencrypt/live/{HOST}"
    debian.must(
        f"mkdir -p {folder} && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN={HOST}"
        f" -addext subjectAltName=DNS:{HOST} -keyout {folder}/privkey.pem"
        f" -out {folder}/fullchain.pem"
    )
    challenge(debian)


def challenge(debian: Debian) -> None:
    folder = "/var/www/html/.well-known/acme-challenge"
    debian.must(f"mkdir -p {folder} && echo proof >{folder}/token")
    url = f"http://{HOST}/.well-known/acme-challenge/token"
    assert debian.must(f"curl --silent --fail {url}") == "proof\n"


def run(debian: Debian, command: str) -> str:
    """Run a command of the page."""
    if command.startswith("nano "):
        edit(debian)
        return ""
    if command.startswith("certbot "):
        certificate(debian)
        return ""
    if " createsuperuser " in command:
        return debian.must(f"{command} --noinput", env={"DJANGO_SUPERUSER_PASSWORD": PASSWORD})
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/mnt/wheels"}
    return debian.must(command.replace("REPOSITORY", "/mnt/origin"), env=offline)


@dataclass(frozen=True)
class Browser:
    """Opens pages as a browser on that machine does."""

    debian: Debian
    base: str

    def get(self, path: str, *options: str) -> str:
        return self._curl(path, *options)

    def send(self, path: str, **fields: str) -> str:
        """Send the form of the page at *path*; return the page that follows."""
        found = re.search(r'name="csrfmiddlewaretoken"\s+value="(\w+)"', self.get(path))
        assert found
        data = {"csrfmiddlewaretoken": found[1], **fields}
        return self._curl(path, *(f"--data-urlencode '{k}={v}'" for k, v in data.items()))

    def _curl(self, path: str, *options: str) -> str:
        url = f"{self.base}{path}"
        return self.debian.must(
            f"curl --silent --fail --show-error --location --cookie /run/jar --cookie-jar /run/jar"
            f" --cacert /etc/letsencrypt/live/{HOST}/fullchain.pem --referer '{url}'"
            f" {' '.join(options)} '{url}'"
        )


def opt_in(debian: Debian, base: str, number: str = NUMBER) -> tuple[Browser, str]:
    """Step 10: ask for a text. Return the address of the page that takes its code."""
    browser = Browser(debian, base)
    browser.send("/sign-in/", username="jo", password=PASSWORD)
    page = browser.send("/account/two-factor/number/", number=number)
    found = re.search(r'action="(\S+code/\?\S+)"', page)
    assert found, page
    return browser, found[1]


# -- the page ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(
    tmp_path_factory: pytest.TempPathFactory, origin: Path, wheels: Path
) -> Iterator[Debian]:
    """After all commands of the page but the last, which is for trouble."""
    with fresh(tmp_path_factory.mktemp("debian"), origin, wheels) as debian:
        for command in INSTALL_COMMANDS[1:-1]:
            run(debian, command)
        yield debian


def faults(report: str) -> set[str]:
    return set(re.findall(r"^fault +(\w+)", report, re.MULTILINE))


def texts(debian: Debian) -> list[tuple[str, str]]:
    path = path_in(debian, Path("run/texts"))
    lines = path.read_text().splitlines() if path.exists() else []
    return [(number, body) for number, body in map(json.loads, lines)]


def test_the_page_leads_to_a_text(installed: Debian) -> None:
    assert len(INSTALL_COMMANDS) <= 12
    assert f"in {len(INSTALL_COMMANDS) - 1} commands" in INSTALL  # the last one is for trouble

    browser, page_of_code = opt_in(installed, f"https://{HOST}")

    [(number, body)] = texts(installed)
    assert number == "+61491570156"
    page = browser.send(page_of_code, code=body.split()[0])
    assert "Two-factor sign-in is on" in page
    challenge(installed)
    before = len(texts(installed))
    assert "0 faults" in installed.must(f"{INSTALL_COMMANDS[-1]} --wait 1")
    assert [number for number, _ in texts(installed)[before:]] == ["+61491570156"]


def test_a_second_run_changes_nothing(installed: Debian) -> None:
    """But it takes the units of release 0.19 away. A timer that is masked stays masked."""
    kept = [SETTINGS, OWNER, Path("etc/nginx/conf.d/optin.conf")]
    before = [read(installed, path) for path in kept]
    installed.must("systemctl mask --now optin-backup.timer")
    for unit in ("optin.service", "optin-owner@purge.timer"):
        installed.must(f"cp /usr/local/lib/systemd/system/{unit} /etc/systemd/system/")
        installed.must(f"systemctl daemon-reload; systemctl reenable {unit}")

    run(installed, "/srv/optin/deploy/install")

    paths = installed.must("systemctl show --value --property FragmentPath optin optin-worker@1")
    assert "/etc/" not in paths + installed.must("systemctl cat optin-owner@purge.timer")
    assert installed.run("systemctl is-enabled optin-backup.timer").stdout == "masked\n"
    installed.must("systemctl unmask optin-backup.timer")
    installed.must("systemctl enable --now optin-backup.timer")
    assert [read(installed, path) for path in kept] == before
    assert "EXAMPLE" not in "".join(before)


def test_each_secret_is_for_those_who_need_it(installed: Debian) -> None:
    owners = installed.must(f"stat -c '%U %a' /{SETTINGS} /{OWNER} /var/lib/optin")
    assert owners.splitlines() == ["optin 600", "root 600", "optin 700"]
    sets = dict(line.split("=", 1) for line in lines(installed, SETTINGS))
    assert "optin_owner" not in sets["DATABASE_URL"]
    processes = installed.must("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert sets["SECRET_KEY"] not in processes


def test_all_of_it_starts_with_the_machine(installed: Debian) -> None:
    installed.must(f"systemctl is-enabled optin optin-worker@1 {' '.join(TIMERS)}")
    timers = installed.must("systemctl list-timers --all --no-legend")
    assert [timer for timer in TIMERS if timer not in timers] == []


def test_what_the_timers_run_succeeds_and_tells_so(installed: Debian) -> None:
    """But for the doctor, which finds that the mail server and the certificate are of a test."""
    write(installed, Path("run/pings.py"), PINGS)
    installed.must("systemd-run --quiet python3 /run/pings.py")
    with path_in(installed, SETTINGS).open("a") as settings:
        for name in ("BACKUP", "VERIFY_AUDIT", "PURGE", "DOCTOR"):
            settings.write(f"PING_{name}=http://127.0.0.1:8099/{name}\n")

    installed.must("systemctl start optin-backup optin-run@verify_audit optin-owner@purge")
    assert installed.run("systemctl start optin-run@doctor").returncode == 1

    pings = path_in(installed, Path("run/pings"))
    until(lambda: pings.exists() and len(pings.read_text().splitlines()) == 3)
    assert sorted(pings.read_text().split()) == ["/BACKUP", "/PURGE", "/VERIFY_AUDIT"]
    installed.must("runuser -u postgres -- pg_restore --list /var/lib/optin-backup/optin-*.dump")
    assert read(installed, Path("var/lib/optin/newest-event"))


def test_the_service_runs_within_its_restrictions(installed: Debian) -> None:
    """Those that the kernel shows; each is in force for the service and for the worker."""
    for unit in ("optin", "optin-worker@1"):
        pid = installed.must(f"systemctl show --value --property MainPID {unit}").strip()
        status = installed.must(f"cat /proc/{pid}/status")
        for line in ("NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"):
            assert line in status
        assert "4294967295" not in installed.must(f"cat /proc/{pid}/uid_map")
        inside = f"nsenter --target {pid} --mount --user --preserve-credentials"
        mounts = installed.must(f"{inside} cat /proc/self/mounts")
        assert re.search(r"^\S+ / \S+ ro,", mounts, re.MULTILINE)
        assert re.search(r"^\S+ /var/lib/optin \S+ rw,", mounts, re.MULTILINE)
    journal = installed.must("journalctl -b -o cat")
    assert "Traceback" not in journal


KILL = "[Service]\nSystemCallErrorNumber=kill\n"


def test_no_system_call_that_the_service_makes_is_filtered(installed: Debian) -> None:
    """A filtered call would kill its process. A page and a worker send, and the owner purges."""
    for unit in ("optin.service", "optin-worker@.service", "optin-owner@.service"):
        folder = path_in(installed, Path(f"run/systemd/system/{unit}.d"))
        folder.mkdir(parents=True)
        (folder / "kill.conf").write_text(KILL)
    with path_in(installed, SETTINGS).open("a") as settings:
        settings.write("OPTIN_DELIVERY=worker\n")
    installed.must("systemctl daemon-reload; systemctl restart optin optin-worker@1")
    installed.must("manage person revoke-factor jo --reason 'Again. Jo'; rm -f /run/jar")
    before = len(texts(installed))

    browser, _ = opt_in(installed, f"https://{HOST}", "0491 570 157")
    until(lambda: len(texts(installed)) > before)
    assert texts(installed)[-1][0] == "+61491570157"
    token = dict(line.split("=", 1) for line in lines(installed, SETTINGS))["METRICS_TOKEN"]
    bearer = f"--header 'Authorization: Bearer {token}'"
    assert "optin_request_seconds" in browser.get("/metrics", bearer)
    installed.must("systemctl start optin-owner@migrate optin-owner@purge")

    journal = installed.must("journalctl -b -o cat")
    for trouble in ("may not delete", "SIGSYS", "31/SYS"):
        assert trouble not in journal


# -- a restore ---------------------------------------------------------------------


def test_the_page_restores_a_backup(installed: Debian) -> None:
    """Each command of "To restore" works as printed."""
    page = (ROOT / "docs" / "upgrade-and-restore.md").read_text(encoding="utf-8")
    (back_up,) = re.findall(r"^ +(systemctl start optin-backup)$", page, re.MULTILINE)
    steps = page.partition("### To restore\n")[2].partition("\n### ")[0]
    commands = re.findall(r"^ {7}(\S(?:.*\\\n)*.*)$", steps, re.MULTILINE)
    assert [each for each in commands if "pg_restore" in each]
    installed.must(f"{back_up}; cp /var/lib/optin-backup/optin-*.dump /srv/optin/optin.dump")
    installed.must("manage access_key create jo 1001 2>/dev/null")

    done = {each: installed.run(f"cd /srv/optin; {each}") for each in commands}

    failed = [each for each in commands if done[each].returncode]
    # The doctor finds that the gateway, the mail server and the certificate are of a test.
    assert failed == ["manage check --deploy", "manage doctor"]
    assert "optin.E303" in done["manage check --deploy"].stdout
    (restored,) = (done[each].stdout for each in commands if "after_restore" in each)
    assert "The service may start." in restored
    assert faults(done["manage doctor"].stdout) == {"mail", "gateways", "site"}
    installed.must(f"systemctl is-active optin optin-worker@1 {' '.join(TIMERS)}")


# -- without a gateway -------------------------------------------------------------


def test_the_trial_leads_to_a_text_and_then_to_production(
    tmp_path: Path, origin: Path, wheels: Path
) -> None:
    noted = ("SECRET_KEY", "OPTIN_KEYS", "OPTIN_DIGEST_KEY", "DATABASE_URL")
    assert all(f"`{name}`" in TRIAL_STEPS for name in noted)
    with fresh(tmp_path, origin, wheels) as debian:
        _, clone, copy, edit_it, get_certificate, install, *people, _ = INSTALL_COMMANDS
        for command in (clone, *TRIAL_COMMANDS, install, *people):
            run(debian, command)
        browser, page_of_code = opt_in(debian, "http://localhost:8000")
        (code,) = re.findall(r"\b(\d{7}) is your", browser.get("/simulator/"))
        assert "Two-factor sign-in is on" in browser.send(page_of_code, code=code)

        kept = [line for line in lines(debian, SETTINGS) if line.split("=")[0] in noted]
        run(debian, copy)
        refused = debian.run(install)
        assert refused.returncode == 1
        assert re.search(r"replace these examples .* BASE_URL .*EMAIL_URL", refused.stdout)
        text = read(debian, SETTINGS)
        for line in kept:
            name = line.split("=")[0]
            text = re.sub(rf"^{name}=.*$", line, text, flags=re.MULTILINE)
        write(debian, SETTINGS, text)
        said = [run(debian, command) for command in (edit_it, get_certificate, install)]
        assert "jo: the number of the trial was removed" in said[-1]
        debian.must("rm /run/jar")
        opt_in(debian, f"https://{HOST}")
        assert [number for number, _ in texts(debian)] == ["+61491570156"]
        assert {*kept} <= {*lines(debian, SETTINGS)}
