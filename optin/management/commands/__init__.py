"""Commands for operators: parse, call one operation, print."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.core.management import base
from django.core.management.base import CommandError, CommandParser
from django.db.models import Model
from django.db.models.signals import post_save
from django.utils.translation import override

from optin import actions
from optin.actions.base import Action
from optin.conf import CHECKS, Conf, conf
from optin.errors import Refusal
from optin.messaging import delivery
from optin.origin import Face, Origin
from optin.outcomes import StaffOutcome

ORIGIN = Origin(Face.COMMAND)


@contextmanager
def recording(model: type[Model], record: Callable[[Any], None]) -> Iterator[None]:
    """Call *record* with each row of *model* that a command of a package saves meanwhile.

    In the transaction of the save, so that there is no row without its event.
    """

    def saved(instance: Model, **signal: Any) -> None:
        record(instance)

    post_save.connect(saved, sender=model)
    try:
        yield
    finally:
        post_save.disconnect(saved, sender=model)


class Tells(base.BaseCommand):
    """Says why an operation was refused."""

    def execute(self, *args: Any, **options: Any) -> Any:
        try:
            with override(None):  # mails are in the language of each person
                return super().execute(*args, **options)
        except Refusal as exc:
            raise CommandError(exc.message) from None


class BaseCommand(Tells):
    """A command that starts fast: it runs only the service's own checks."""

    requires_system_checks = [CHECKS]


class MendingCommand(Tells):
    """A command that mends what a check refuses. It runs none: it needs only keys."""

    requires_system_checks = []

    def execute(self, *args: Any, **options: Any) -> Any:
        for name, fault in (
            (Conf.keys.name, Conf.keys.fault(conf.keys)),
            (Conf.digest_key.name, Conf.digest_key.fault(conf.digest_key)),
        ):
            if fault:
                raise CommandError(f"{name} {fault}.")
        return super().execute(*args, **options)


class ActionCommand(BaseCommand):
    """An ``Action``. Each field of its form is an argument."""

    def __init__(self, action: Action, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.action = action
        before = f" Before that: {action.needs}" if action.needs else ""
        self.help = f"{action.title}. {action.says}{before}"

    def add_arguments(self, parser: CommandParser) -> None:
        for form in filter(None, (self.action.by, self.action.form)):
            for name, field in form(None).fields.items():
                _add_field(parser, name, field)
        if self.action.is_final:
            parser.add_argument("--yes", action="store_true", help="Do not ask.")

    def handle(self, *args: Any, **options: Any) -> None:
        row = None
        if self.action.by:
            named = _filled(self.action.by, options)
            try:
                row = named.found()
            except forms.ValidationError as exc:
                raise CommandError(exc.message) from None
        data = _filled(self.action.form, options).cleaned_data
        if self.action.is_final and not (options["yes"] or self._is_meant(row)):
            raise CommandError("Nothing was done. Without a terminal, say --yes.")
        done = self.action.do(row, data, ORIGIN)
        if not done.is_done and done.outcome != StaffOutcome.UNCHANGED:
            raise CommandError(done.words)
        answer = done.secret or done.answer
        if not answer:
            self.stdout.write(done.words)
            return
        # A development start prints mails, such as the one about a key.
        delivery.postman.wait()
        self.stderr.write(done.words)
        self.stdout.write(answer)

    def _is_meant(self, row: Any) -> bool:
        name = getattr(row, "username", row)
        question = f"{self.action.title}: {name!r}, id {row.pk}? Type yes: "
        return sys.stdin.isatty() and input(question) == "yes"


def _add_field(parser: CommandParser, name: str, field: forms.Field) -> None:
    """Add an argument: what is required is positional, apart from the reason."""
    flag, words = _argument(name, field), str(field.help_text or field.label)
    if isinstance(field, forms.BooleanField):
        parser.add_argument(flag, dest=name, action="store_true", help=words)
    elif flag == name:
        parser.add_argument(name, help=words)
    else:
        is_needed = field.required and field.initial is None
        words = words if field.initial is None else f"{words} (default: %(default)s)"
        parser.add_argument(flag, dest=name, required=is_needed, default=field.initial, help=words)


def _argument(name: str, field: forms.Field) -> str:
    """Return how the argument of *field* is written."""
    is_needed = field.required and field.initial is None and name != "reason"
    is_positional = is_needed and not isinstance(field, forms.BooleanField)
    return name if is_positional else f"--{name.replace('_', '-')}"


def _filled(form: Any, options: dict[str, Any]) -> Any:
    """Return the *form* with what was given.

    :raises CommandError: if something of it is unfit.
    """
    filled = form({name: options[name] for name in form(None).fields})
    if not filled.is_valid():
        fields, errors = filled.fields, filled.errors.items()
        raise CommandError(
            " ".join(
                f"{_argument(name, fields[name])}: {one}" if name in fields else str(one)
                for name, each in errors
                for one in each
            )
        )
    return filled


_ALSO_AFTER: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("-v", "--verbosity"), {"type": int, "choices": range(4)}),
    (("--settings",), {}),
    (("--pythonpath",), {}),
    *(
        ((flag,), {"action": "store_true"})
        for flag in ("--traceback", "--no-color", "--force-color", "--skip-checks")
    ),
)
"""Django's own options, which may stand after the act too."""


class GroupCommand(base.BaseCommand):
    """Several acts under one name: ``manage NAME ACT``. Each is a command by itself."""

    acts: ClassVar[Mapping[str, Callable[..., base.BaseCommand]]]

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        for name, make in self.acts.items():
            act = make()
            each = acts.add_parser(name, help=act.help, description=act.help)
            act.add_arguments(each)
            for flags, given in _ALSO_AFTER:
                each.add_argument(
                    *flags, **given, default=argparse.SUPPRESS, help=argparse.SUPPRESS
                )

    def execute(self, *args: Any, **options: Any) -> Any:
        act = self.acts[options.pop("act")](stdout=self.stdout, stderr=self.stderr)
        return act.execute(*args, **options)


def acts_of(subject: str) -> dict[str, Callable[..., base.BaseCommand]]:
    """Return the acts that are made from actions, for a command called *subject*."""
    found = [each.command.split() for each in actions.EVERY]
    return {
        words[1]: partial(ActionCommand, action)
        for words, action in zip(found, actions.EVERY, strict=True)
        if words[:1] == [subject]
    }
