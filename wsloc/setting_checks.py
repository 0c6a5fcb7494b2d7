"""How the settings of all verbs are shown in the help, and what refuses a value out of its range."""

from __future__ import annotations

from typing import Any

import tyro

from wsloc.errors import UserError
from wsloc.plugins import Registry


def optional(metavar: str, default: str) -> object:
    """How the help shows a flag whose default is None."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


def one_of(registry: Registry[Any], default: str | None = None) -> object:
    """How the help shows a flag that takes a name of a registry; ``default`` says what a default of None means."""
    hint = None if default is None else f"(default: {default})"
    return tyro.conf.arg(metavar=f"{{{','.join(registry)}}}|MODULE:NAME", help_behavior_hint=hint)


def require(condition: bool, sentence: str) -> None:
    if not condition:
        raise UserError(sentence)


def require_range(settings: object, name: str, low: float, high: float | None = None, unit: str = "") -> None:
    """A setting that is None, or from ``low`` to ``high`` (None: without a limit).

    Raises:
        UserError: if it is anything else.
    """
    value = getattr(settings, name)
    if value is not None and not low <= value <= (value if high is None else high):
        limits = f"be at least {low}{unit}" if high is None else f"be between {low} and {high}{unit}"
        raise UserError(f"`{name}` must {limits}, not {value}.")


def require_fraction(settings: object, name: str) -> None:
    """A setting from 0 to below 1.

    Raises:
        UserError: if it is anything else.
    """
    value = getattr(settings, name)
    require(0 <= value < 1, f"`{name}` must be at least 0 and below 1, not {value}.")


def require_above(settings: object, name: str, low: float, high: float | None = None) -> None:
    """A setting that is None, or above ``low`` and at most ``high`` (None: without a limit).

    Raises:
        UserError: if it is anything else.
    """
    value = getattr(settings, name)
    if value is not None and not low < value <= (value if high is None else high):
        at_most = "" if high is None else f" and at most {high}"
        raise UserError(f"`{name}` must be above {low}{at_most}, not {value}.")
