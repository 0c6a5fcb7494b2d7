"""What the values of a run's JSON must hold: people edit these files, and other programs write them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from wsloc.files.names import is_text
from wsloc.images import MAX_PIXELS

Check = Callable[[object], Any]
"""Takes a value and gives it in its type; raises a ValueError that says what is wrong with it."""
_MAX_COORDINATE = 1e9
"""Pixels; no image is that large, and no run counts as many of anything."""


def check(holds: Callable[[Any], bool], fault: str, made: Callable[[Any], Any] = lambda value: value) -> Check:
    """A check of what a value must hold; ``fault`` says what is wrong where it does not."""

    def checked(value: object) -> Any:
        if not holds(value):
            raise ValueError(fault)
        return made(value)

    return checked


def or_none(of_value: Check, none: Any = None) -> Check:
    """The same check where null is allowed, which becomes ``none``."""
    return lambda value: none if value is None else of_value(value)


def is_whole(value: object, minimum: int) -> bool:
    """Whether a value is a whole number of a size that can be counted."""
    return type(value) is int and minimum <= value <= _MAX_COORDINATE


def checked_fields(fields: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    """The values of an object that have a check; those that are missing count as null.

    Raises:
        ValueError: that names the first wrong one.
    """
    values = {}
    for name, of_value in checks.items():
        try:
            values[name] = of_value(fields.get(name))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{name} {error}" if name in fields else f"{name} is missing") from error
    return values


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_box(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        return False
    return all(abs(corner) <= _MAX_COORDINATE or not math.isfinite(corner) for corner in value)


def _is_size(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2 or not all(is_whole(side, 1) for side in value):
        return False
    return bool(value[0] * value[1] <= MAX_PIXELS)


def _is_rle(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("counts"), str) and _is_size(value.get("size"))


text = check(is_text, "is not text")
number = check(_is_number, "is not a number", float)
fraction = check(lambda value: _is_number(value) and 0 <= value <= 1, "is not a number from 0 to 1", float)
index = check(lambda value: is_whole(value, 0), "is not a whole number of at least 0")
rank = check(lambda value: is_whole(value, 1), "is not a whole number of at least 1")
box = check(_is_box, "is not a box", lambda value: tuple(map(float, value)))
seconds = check(lambda value: _is_number(value) and 0 <= value <= _MAX_COORDINATE, "is not a number of seconds")
size = check(_is_size, f"is not a width and height of at most {MAX_PIXELS // 10**6} million pixels", tuple)
texts = check(_is_list_of_texts, "is not a list of texts")
text_pairs = check(
    lambda value: isinstance(value, list) and all(_is_list_of_texts(pair) and len(pair) == 2 for pair in value),
    "is not a list of pairs of texts",
)
text_by_name = check(
    lambda value: isinstance(value, dict) and all(map(is_text, (*value, *value.values()))), "is not texts by name"
)
mask = check(_is_rle, "has no run lengths of a mask that an image can have")


def object_of(checks: Mapping[str, Check]) -> Check:
    """A check of a JSON object whose fields have checks of their own; others may hold anything."""

    def checked(value: object) -> Any:
        if not isinstance(value, dict):
            raise ValueError("is not a JSON object")
        return checked_fields(value, checks)

    return checked
