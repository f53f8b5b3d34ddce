"""Start-up of the app."""

from django.apps import AppConfig


class OptinConfig(AppConfig):
    name = "optin"
    verbose_name = "Two-factor opt-in"

    def ready(self) -> None:
        from optin import checks  # noqa: F401  (registers the system checks)
        from optin.audit import ledger, seals
        from optin.models.audit import committed

        committed.connect(ledger.keep, dispatch_uid="keep_ledger")
        committed.connect(seals.keep_sealing, dispatch_uid="keep_sealing")
