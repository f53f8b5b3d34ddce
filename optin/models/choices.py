"""A column with one of several words."""

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    Words = models.CharField[str, str]
else:
    Words = models.CharField


class ChoiceField(Words):
    """Migrations do not list its choices: the database does not know them, so a new one needs no
    migration."""

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()
        kwargs.pop("choices", None)
        return name, "django.db.models.CharField", list(args), kwargs
