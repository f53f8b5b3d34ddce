"""Caddy as ``deploy/caddy/Caddyfile`` configures it."""

import re
import shutil
import subprocess

from tests.kit.server import ROOT, needs

CADDY = shutil.which("caddy") or ""


def configuration() -> str:
    """Return the Caddyfile, changed for an old Caddy (Debian 13 has 2.6.2) as it says itself."""
    needs("Caddy", bool(CADDY))
    text = (ROOT / "deploy" / "caddy" / "Caddyfile").read_text(encoding="utf-8")
    said = subprocess.run([CADDY, "version"], capture_output=True, text=True, check=True).stdout
    version = tuple(map(int, re.findall(r"\d+", said)[:3]))
    new, old = "\t\trequest_buffers 32KB\n", "\t\tbuffer_requests\n\t\tmax_buffer_size 32KB\n"
    assert new in text
    return text if version >= (2, 6, 3) else text.replace(new, old)
