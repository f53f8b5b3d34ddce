"""Make what a setting names: a class that is shipped, or one of the operators' own."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from django.utils.module_loading import import_string

T = TypeVar("T")


def load(name: str, shipped: Mapping[str, Callable[[], T]]) -> T:
    """Return a new object: of the class under *name* in *shipped*, or of that dotted path.

    :raises ValueError: if it cannot be made, with a reason that holds no secret.
    """
    try:
        made: T = (shipped.get(name) or import_string(name))()
    except ImportError as exc:
        raise ValueError(f"it cannot be imported: {exc}.") from None
    return made
