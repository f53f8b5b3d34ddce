"""Start-up of the app."""

from django.apps import AppConfig


class OptinConfig(AppConfig):
    name = "optin"
    verbose_name = "Two-factor opt-in"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in

        from optin import checks  # noqa: F401  (registers the system checks)
        from optin.audit import lines, restores, seals
        from optin.models.audit import committed
        from optin.models.users import note_sign_in

        # Under the name of Django's receiver, which comes later and so is left out.
        user_logged_in.connect(note_sign_in, dispatch_uid="update_last_login")
        committed.connect(restores.note, dispatch_uid="note_newest_event")
        committed.connect(seals.keep_sealing, dispatch_uid="keep_sealing")
        committed.connect(lines.log, dispatch_uid="log_events")
