"""JSON and YAML of others: whatever a text holds, its parser says that in an error that is expected."""

from __future__ import annotations

import json
import math
from typing import Any

import yaml

_MAX_SIZE = 10_000_000
"""Characters and values of a YAML text with its aliases written out: a few lines of them may stand for any number."""


def parse_json(text: str | bytes, **hooks: Any) -> Any:
    """The value of a JSON text.

    Args:
        text: of one value.
        hooks: as ``json.loads`` takes them.

    Raises:
        ValueError: if it is no JSON, or is nested without end.
    """
    try:
        return json.loads(text, **hooks)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_yaml(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """The value of a YAML text; no tag in it runs anything.

    Args:
        text: of one document.
        loader: that makes the values.

    Raises:
        yaml.YAMLError: if it is no YAML.
        ValueError: if it holds a value that cannot be made or written, such as ``!!bool x`` or a number of thousands of
            digits, is nested without end, or means more than ten million characters by its aliases.
    """
    try:
        value = yaml.load(text, loader)
        size = _size(value, {})
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (KeyError, AttributeError, TypeError) as error:  # of PyYAML's truth values, dates and sets
        raise ValueError(f"a value cannot be made: {error!r}") from error
    if size > _MAX_SIZE:
        raise ValueError("its aliases stand for more than ten million characters")
    return value


def _size(value: object, known: dict[int, float]) -> float:
    """Characters and values with all aliases written out; infinite for a value that contains itself."""
    if isinstance(value, str | bytes):
        return 1 + len(value)
    if not isinstance(value, dict | list | tuple | set):
        return len(str(value))  # a ValueError if Python writes no number so long
    if id(value) not in known:
        known[id(value)] = math.inf
        parts = (*value, *value.values()) if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(value)]
