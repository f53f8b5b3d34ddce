"""Passkeys of Chromium's own virtual authenticator (CDP, domain WebAuthn)."""

from typing import Any

from playwright.sync_api import Page

_KIND = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
}


class Keys:
    """The authenticator that one page has. Another page has none, or another."""

    def __init__(self, page: Page, held: "list[dict[str, Any]] | None" = None) -> None:
        """Give *page* an authenticator, with the keys *held*."""
        self._session = page.context.new_cdp_session(page)
        self._session.send("WebAuthn.enable", {"enableUI": False})
        added = self._session.send("WebAuthn.addVirtualAuthenticator", {"options": _KIND})
        self._which = {"authenticatorId": added["authenticatorId"]}
        for key in held or []:
            self._do("addCredential", credential=key)

    def _do(self, command: str, **parameters: Any) -> Any:
        return self._session.send(f"WebAuthn.{command}", {**self._which, **parameters})

    @property
    def held(self) -> list[dict[str, Any]]:
        """The keys as they are now, to copy them to another page."""
        found: list[dict[str, Any]] = self._do("getCredentials")["credentials"]
        return found

    def let_person_cancel(self, cancels: bool = True) -> None:
        """Have the person fail, or cancel, what the browser asks them for: or no longer."""
        self._do("setUserVerified", isUserVerified=not cancels)

    def remove(self) -> None:
        """Take the authenticator away, as somebody pulls a security key out."""
        self._do("removeVirtualAuthenticator")
