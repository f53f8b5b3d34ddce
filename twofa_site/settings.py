"""Settings. The environment comes in here and nowhere else.

A development start needs no variable at all; ``docs/reference.md`` lists them.
Secrets may be given as files: ``SECRET_KEY_FILE`` holds ``SECRET_KEY``, and so on; or by a
command: ``SECRET_KEY_COMMAND`` prints it.
"""

import os
import secrets
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
import django
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, FileAwareEnv

from optin import keys
from optin.conf import Conf
from optin.conf.parse import rsa_keys, unquoted
from optin.gateways import every_setting
from optin.runtime import logs

BASE_DIR = Path(__file__).resolve().parent.parent


class _Env(FileAwareEnv):
    """Reads NAME_FILE in place of NAME where that is set, without the last line break."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        value = super()._get_value(env_key, default)
        return unquoted(value) if isinstance(value, str) else value


env = _Env(strip_whitespace=True)

OPTIN_VARIABLES = sorted(name for name in os.environ if name.startswith("OPTIN_"))
"""Those that were given, for the check of their names."""


def _read(read: Callable[..., Any], name: str, default: Any, must: str) -> Any:
    """Return the value of a variable, or stop with a sentence.

    Without the value, and without the error that holds it: it may be a secret.
    """
    path = os.environ.get(f"{name}_FILE", "")
    if path and not os.access(path, os.R_OK):
        raise ImproperlyConfigured(f"{name}_FILE must be a file that the service can read.")
    try:
        with _from_command(name):
            return read(name, default)
    except (EnvError, ValueError):
        raise ImproperlyConfigured(f"{name} {must}.") from None


PATIENCE = 20
"""Seconds that a command which prints a secret may take."""


@contextmanager
def _from_command(name: str) -> Iterator[None]:
    """Let the variable *name* have what ``NAME_COMMAND`` prints, if there is such a command.

    Only while it is read: what the service starts must not find the secret in its environment.
    """
    command = unquoted(os.environ.get(f"{name}_COMMAND", ""))
    if not command:
        yield
        return
    if twice := [other for other in (name, f"{name}_FILE") if os.environ.get(other)]:
        raise ImproperlyConfigured(f"Give {name}_COMMAND or {twice[0]}, not both.")
    os.environ[name] = _output(name, command)
    try:
        yield
    finally:
        del os.environ[name]


@cache
def _output(name: str, command: str) -> str:
    """Return what *command* prints; no shell reads it. What it says of errors goes to stderr."""
    try:
        # The operator gives the command.
        done = subprocess.run(  # noqa: S603
            shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=PATIENCE
        )
        text = done.stdout.decode().strip()
    except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
        # Without the words of the error: they may hold what it printed.
        raise ImproperlyConfigured(f"{name}_COMMAND failed: {type(exc).__name__}.") from None
    if done.returncode or not text:
        what = f"ended with {done.returncode}" if done.returncode else "printed nothing"
        raise ImproperlyConfigured(f"{name}_COMMAND {what}.")
    return text


def _port(name: str, default: int) -> int:
    port: int = env.int(name, default)
    if not 1 <= port <= 65535:
        raise ValueError
    return port


def _database(name: str, default: str) -> dict[str, Any]:
    """Return the database at an address, which may have several hosts with commas between."""
    address = env.str(name, default)
    parts = urlsplit(address)
    account, at, hosts = parts.netloc.rpartition("@")
    first, *others = hosts.split(",")
    if others:  # the library knows one
        address = parts._replace(netloc=f"{account}{at}{first}").geturl()
    database: dict[str, Any] = {**dj_database_url.parse(address)}
    if database["ENGINE"].rpartition(".")[2] not in {"sqlite3", "postgresql"}:
        raise ValueError
    if others:
        # libpq tries them in this order, each with its own port.
        each = [urlsplit(f"//{host}") for host in (first, *others)]
        database["HOST"] = ",".join(host.hostname or "" for host in each)
        database["PORT"] = ",".join(str(host.port or 5432) for host in each)
    return database


def _mail(name: str, default: str) -> dict[str, Any]:
    mail: dict[str, Any] = env.dj_email_url(name, default)
    kind = mail.get("EMAIL_BACKEND", "").removesuffix(".EmailBackend").rpartition(".")[2]
    # Others need settings that nothing here gives them, and would fail at each mail.
    if kind not in {"smtp", "console", "dummy"} or (kind == "smtp" and not mail["EMAIL_HOST"]):
        raise ValueError
    return mail


# A development start is one that was told neither a secret nor an address. It serves
# this machine only: optin.checks refuses DEBUG with any other BASE_URL.
_given = [name for name in ("SECRET_KEY", "BASE_URL") if _read(env.str, name, "", "must be text")]
DEBUG: bool = _read(env.bool, "DEBUG", not _given, "must be true or false (optin.E110)")
PORT: int = _read(_port, "PORT", 8000, "must be from 1 to 65535 (optin.E111)")
DATA_DIR = Path(env.str("DATA_DIR", str(BASE_DIR / "var")))


def _kept(name: str, make: Callable[[], str]) -> str:
    """Return a secret that is made at the first development start and kept."""
    path = DATA_DIR / name
    DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        # Under its name only once it is whole: another process may start at the same time.
        with NamedTemporaryFile("w", dir=DATA_DIR, encoding="utf-8") as file:
            file.write(make())
            file.flush()
            with suppress(FileExistsError):
                path.hardlink_to(file.name)
    return path.read_text(encoding="utf-8")


def _rsa_key() -> str:
    return (
        rsa.generate_private_key(65537, 2048)
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode()
    )


# -- the service's own settings: names, defaults and meaning are in optin.conf and optin.gateways

for _setting in every_setting():
    _text = _read(env.str, _setting.name, None, "must be text")
    try:
        globals()[_setting.name] = _setting.default if _text is None else _setting.parse(_text)
    except ValueError as exc:
        raise ImproperlyConfigured(f"{_setting.name} {exc} ({_setting.check_id}).") from None

SECRET_KEY: str = globals()["SECRET_KEY"] or (
    _kept("secret_key", lambda: secrets.token_urlsafe(48)) if DEBUG else ""
)
if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY is not set (optin.E026). See docs/production.env.")
# Django fails on these two before any check could tell.
for _setting in (Conf.time_zone, Conf.log_level):
    if _fault := _setting.fault(globals()[_setting.name]):
        raise ImproperlyConfigured(f"{_setting.name} {_fault} ({_setting.check_id}).")

BASE_URL: str = globals()["BASE_URL"] or f"http://localhost:{PORT}"
if DEBUG:
    OPTIN_KEYS = globals()["OPTIN_KEYS"] or {"dev": keys.derive(SECRET_KEY, "development ring")}
    OPTIN_DIGEST_KEY = globals()["OPTIN_DIGEST_KEY"] or keys.derive(
        SECRET_KEY, "development digest key"
    )
    OPTIN_OPENID_KEYS = globals()["OPTIN_OPENID_KEYS"] or rsa_keys(_kept("openid.pem", _rsa_key))
    OPTIN_SUPPORT = globals()["OPTIN_SUPPORT"] or "support@example.com"

# -- where it is reached -----------------------------------------------------------

_base = urlsplit(BASE_URL)
HTTPS = _base.scheme == "https"
ALLOWED_HOSTS = [_base.hostname or "invalid"]
if DEBUG:
    ALLOWED_HOSTS += ["127.0.0.1", "localhost", "[::1]"]
USE_X_FORWARDED_HOST = False
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEBUG
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
# The prefix makes browsers refuse such a cookie without Secure, or for another host or path.
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "csrf"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# The proxy in front ends TLS and redirects; the service speaks HTTP to it alone.
SECURE_SSL_REDIRECT = False
# The first is about that redirect. Where mails go to the console, optin.W201 says it in our words.
SILENCED_SYSTEM_CHECKS = ["security.W008", "mail.E001"]
# Messages of the admin are in the session, not in a cookie of their own.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
CSRF_FAILURE_VIEW = "optin.web.pages.csrf_failure"
SESSION_ENGINE = "optin.web.session_store"
# The cookie ends with the browser, and the session after 12 hours at the latest; the idle
# time is shorter (optin.web.sessions).
SESSION_COOKIE_AGE = 12 * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "account"
# As long as the longest wait for another link (optin.operations.passwords): whoever is refused
# another one has one that works.
PASSWORD_RESET_TIMEOUT = 4 * 3600
# Bytes of a form. The calls have a limit of their own (optin.api.parsers.MAX_BODY).
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
FILE_UPLOAD_HANDLERS = ["optin.web.uploads.NoFiles"]
X_FRAME_OPTIONS = "DENY"
SECURE_CSP = {
    "default-src": ["'none'"],
    "style-src": ["'self'"],
    "script-src": ["'self'"],
    "connect-src": ["'self'"],
    "img-src": ["'self'", "data:"],  # the icons in Pico's style sheet
    "form-action": ["'self'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
}

# -- what it is made of ------------------------------------------------------------

ROOT_URLCONF = "twofa_site.urls"
WSGI_APPLICATION = "twofa_site.wsgi.application"
INSTALLED_APPS = [
    # First: its commands are also those of Django and of packages, with an audit event.
    "optin",
    "tools",
    # Without looking for what other packages would put into it: optin.admin has it all.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "oauth2_provider",
    "django_otp",
]
# Add the same headers to every answer, and do nothing else: to those of calls too.
SETS_HEADERS = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware"
    if django.VERSION >= (6, 0)
    else "optin.web.middleware.ContentSecurityPolicy",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
MIDDLEWARE = [
    "optin.api.middleware.ApiEdge",
    *SETS_HEADERS,
    "optin.web.middleware.PageEdge",
    "optin.web.middleware.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "optin.web.sessions.Ages",
    "optin.web.middleware.Throttle",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,  # Django's admin
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "optin.web.context.service",
            ],
            "libraries": {"times": "optin.admin.times"},
        },
    }
]
STATIC_URL = "/static/"
# Served from where they lie: there is nothing to collect.
WHITENOISE_USE_FINDERS = True
# Paths are matched by the API without regard to case and trailing slash.
APPEND_SLASH = False

REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "optin.api.schema.CallSchema"}
SPECTACULAR_SETTINGS = {
    "TITLE": "Opting in to two-factor authentication",
    "VERSION": "0.28.0",
    "OAS_VERSION": "3.1.1",
    "SERVERS": [{"url": BASE_URL}],
    "PREPROCESSING_HOOKS": ["optin.api.schema.calls_only"],
    "POSTPROCESSING_HOOKS": [],
    "SORT_OPERATIONS": False,
}

# -- rows --------------------------------------------------------------------------

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "optin.User"
# The toolkit's own. Named because a row of ours points at them (optin.models.tokens).
OAUTH2_PROVIDER_APPLICATION_MODEL = "oauth2_provider.Application"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "oauth2_provider.AccessToken"  # noqa: S105  (a name)
OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL = "oauth2_provider.RefreshToken"  # noqa: S105  (a name)
_rows: dict[str, Any] = _read(
    _database,
    "DATABASE_URL",
    f"sqlite:///{DATA_DIR / 'db.sqlite3'}",
    "must be postgres://user:password@host:port/name, or sqlite:///path (optin.E112)",
)
DATABASES: dict[str, dict[str, Any]] = {"default": _rows}
if _rows["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE: a transaction takes the write lock first, as FOR UPDATE would.
    # recursive_triggers: REPLACE then fires the delete trigger of the audit trail.
    _rows["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "PRAGMA recursive_triggers=ON;",
    }
else:
    # Its migrations are for PostgreSQL alone; so is OPTIN_DELIVERY=worker.
    INSTALLED_APPS.insert(-1, "procrastinate.contrib.django")
    # Or Django's own, "django.db.backends.postgresql": slower, and it needs CONN_HEALTH_CHECKS.
    _rows["ENGINE"] = env.str("DATABASE_ENGINE", "optin.database")
    _rows["CONN_HEALTH_CHECKS"] = _rows["ENGINE"] != "optin.database"
    # Options of libpq: seconds (the last one: milliseconds) after which a silent server counts as
    # away. The defaults are minutes and hours, and each thread would wait as long. DATABASE_URL may
    # override them.
    _rows["OPTIONS"] = {
        "connect_timeout": 3,
        "keepalives_idle": 5,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": 8000,
        **_rows.get("OPTIONS", {}),
        # For each process. Requests that wait for the hash of a password hold none. A thread waits
        # for a connection for 5 seconds, and so long the pool looks for a database that is
        # away before it begins anew: its pause doubles each time.
        "pool": {"min_size": 0, "max_size": 10, "timeout": 5, "reconnect_timeout": 5},
    }

PROCRASTINATE_WORKER_DEFAULTS = {
    # A thread for each: Python makes at least this many. More by more workers.
    "concurrency": 5,
    "delete_jobs": "successful",  # the messages themselves tell what became of them
    # Seconds. A job that waits for its next try is found by asking, not by a notification.
    "fetch_job_polling_interval": 1.0,
    # A worker that was cut off for a while goes on with its number; ``rescue`` looks at
    # heartbeats, not at this.
    "stalled_worker_timeout": 86_400.0,
}

# -- passwords, tokens -------------------------------------------------------------

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "optin.api.oauth.RandomSecretHasher",
    "optin.hashes.Imported",
    "optin.hashes.Wrapped",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
    )
]

OPENID_KEYS: tuple[str, ...] = globals()["OPTIN_OPENID_KEYS"]
_identity = ("openid", "profile", "email") if OPENID_KEYS else ()
OAUTH2_PROVIDER = {
    # What they allow, in words: optin.web.consent. No person gives "scim".
    "SCOPES": dict.fromkeys(("full", "2fa", "modify", "view", "events", *_identity, "scim"), ""),
    "DEFAULT_SCOPES": ["2fa"],
    "SCOPES_BACKEND_CLASS": "optin.api.oauth.Scopes",
    "OAUTH2_VALIDATOR_CLASS": "optin.api.oauth.Validator",
    "OIDC_ISS_ENDPOINT": BASE_URL,
    "OIDC_ENABLED": bool(OPENID_KEYS),
    "OIDC_RSA_PRIVATE_KEY": "".join(OPENID_KEYS[:1]),
    "OIDC_RSA_PRIVATE_KEYS_INACTIVE": OPENID_KEYS[1:],
    "OIDC_JWKS_MAX_AGE_SECONDS": 300,  # a new key may sign at once
    "OIDC_RESPONSE_TYPES_SUPPORTED": ["code"],
    "OIDC_RP_INITIATED_LOGOUT_ENABLED": bool(OPENID_KEYS),
    "ID_TOKEN_EXPIRE_SECONDS": 3600,
    "OAUTH2_GRANT_TYPES_SUPPORTED": ["authorization_code", "client_credentials", "refresh_token"],
    "OAUTH2_RESPONSE_TYPES_SUPPORTED": ["code"],
    "ACCESS_TOKEN_EXPIRE_SECONDS": globals()["OPTIN_ACCESS_TOKEN_LIFETIME"],
    "REFRESH_TOKEN_EXPIRE_SECONDS": globals()["OPTIN_REFRESH_TOKEN_LIFETIME"],
    "REFRESH_TOKEN_REUSE_PROTECTION": True,  # RFC 9700 4.14.2
    "ROTATE_REFRESH_TOKEN": True,  # under /o/; OPTIN_PASSWORD_CLIENTS_ROTATE is for the others
    "CLEAR_EXPIRED_TOKENS_BATCH_SIZE": 500,  # rows in one transaction of purge
    "PKCE_REQUIRED": True,
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https"],
    # Client secrets are 128 random characters: a slow hash protects nothing.
    "CLIENT_SECRET_HASHER": "random_secret",
    **{
        f"COMPLIANT_BCP_RFC9700_{gate}": True
        for gate in (
            "IMPLICIT_GRANT",
            "PASSWORD_GRANT",
            "PKCE_METHOD",
            "ACCESS_TOKEN_TRANSPORT",
            "AUTHZ_RESPONSE_ISS",
            "TOKEN_STORAGE",
            "REFRESH_TOKEN",
            "REDIRECT_URI_SCHEME",
            "REDIRECT_URI_MATCHING",
            "PKCE_REQUIRED",
        )
    },
}

# -- mail, time, logs --------------------------------------------------------------

_email = _read(
    _mail,
    "EMAIL_URL",
    "console://" if DEBUG else "dummy://",
    "must be submission://user:password@host:port or smtp://host:port (optin.E113)",
)
_smtp = {
    "host": _email["EMAIL_HOST"],
    "port": _email["EMAIL_PORT"],
    "username": _email["EMAIL_HOST_USER"],
    "password": _email["EMAIL_HOST_PASSWORD"],
    "use_tls": _email["EMAIL_USE_TLS"],
    "use_ssl": _email["EMAIL_USE_SSL"],
    "timeout": 5,
}
_is_smtp = _email["EMAIL_BACKEND"].endswith("smtp.EmailBackend")
# For optin.checks: mails to the console or to nowhere reach nobody.
SENDS_MAIL: bool = _is_smtp
if _is_smtp:
    _email["EMAIL_BACKEND"] = "optin.messaging.smtp.EmailBackend"  # which does not wait for ever
if django.VERSION >= (6, 1):
    MAILERS = {
        "default": {"BACKEND": _email["EMAIL_BACKEND"], "OPTIONS": _smtp if _is_smtp else {}}
    }
else:
    EMAIL_BACKEND = _email["EMAIL_BACKEND"]
    EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = _smtp["host"], _smtp["port"], _smtp["timeout"]
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _smtp["username"], _smtp["password"]
    EMAIL_USE_TLS, EMAIL_USE_SSL = _smtp["use_tls"], _smtp["use_ssl"]
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", f"no-reply@{_base.hostname}")

LANGUAGE_CODE = "en-au"
LANGUAGES = [("en-au", "English"), ("de", "Deutsch")]
# Which of them somebody chose; else the one that the browser asks for.
LANGUAGE_COOKIE_NAME = "__Host-language" if HTTPS else "language"
BROWSER_COOKIE_NAME = "__Host-browser" if HTTPS else "browser"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SECURE = HTTPS
LOCALE_PATHS = [BASE_DIR / "optin" / "locale"]
USE_TZ = True

LOG_FORMAT: str = env.str("LOG_FORMAT", "plain" if DEBUG else "json")
if LOG_FORMAT not in logs.FORMATS:
    raise ImproperlyConfigured(f"LOG_FORMAT must be one of {', '.join(logs.FORMATS)}.")
LOGGING = logs.configuration(globals()["LOG_LEVEL"], LOG_FORMAT)
DEFAULT_EXCEPTION_REPORTER = "optin.web.reports.FramesOnly"

METRICS_TOKEN: str = env.str("METRICS_TOKEN", "")
if METRICS_TOKEN and len(METRICS_TOKEN) < 32:
    raise ImproperlyConfigured("METRICS_TOKEN must have 32 characters or more.")
STOP_DELAY: int = env.int("STOP_DELAY", 0)
if STOP_DELAY < 0:
    raise ImproperlyConfigured("STOP_DELAY must be a number of seconds, 0 or more.")
# Made by gunicorn.conf.py, so that all workers count together.
METRICS_DIR: str = env.str("PROMETHEUS_MULTIPROC_DIR", "")
