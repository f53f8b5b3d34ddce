"""Start-up of the app: it registers the system checks."""

from django.apps import AppConfig


class ToolsConfig(AppConfig):
    name = "tools"

    def ready(self) -> None:
        from tools import checks  # noqa: F401
