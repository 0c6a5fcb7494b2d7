"""The records of a run as lines of JSON, one per line: written, checked when they are read, and upgraded.

``kind`` says which record a line holds: ``localization``, ``detection`` or ``failure``. Runs of version 0.1.0
(schema 1) have no ``kind``; :func:`upgraded` is all that knows of them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from wsloc.records import BoxRecord, Detection, Failure, Localization

SCHEMA_VERSION = 2
Fields = Mapping[str, Any]
Check = Callable[[object], Any]
_MAX_COORDINATE = 1e9
"""Pixels; no image is that large."""


def to_line(record: BoxRecord | Failure) -> str:
    """The line of a record."""
    fields = {"kind": _KIND_OF[type(record)], **dataclasses.asdict(record)}
    return json.dumps(fields, ensure_ascii=False) + "\n"


def from_fields(fields: Fields) -> BoxRecord | Failure:
    """The record of a line; a score that is null is NaN, and so may the numbers of a box be.

    Raises:
        ValueError: if a field is missing or has an invalid value.
    """
    if not isinstance(fields, Mapping):
        raise ValueError("it is not a JSON object")
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ValueError(f"its kind is {kind!r}")
    values = {}
    for name, check in _FIELDS[kind].items():
        try:
            values[name] = check(fields.get(name))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{name} {error}" if name in fields else f"{name} is missing") from error
    record: BoxRecord | Failure = _CLASSES[kind](**values)
    return record


def upgraded(fields: Fields, *, by_detector: bool) -> Fields:
    """A line of schema 1 as one of schema 2.

    Args:
        fields: of the line.
        by_detector: whether the run is a detector's or a round of its self-training, as its manifest says by ``kind``.
    """
    if not isinstance(fields, Mapping):
        return fields
    if "reason" in fields:
        return {**fields, "kind": "failure"}
    renamed = {"area_share": "area_fraction"}
    if by_detector and fields.get("segmenter") == "none":
        renamed |= {"probability": "score", "component": "index"}
        return {"kind": "detection", **{renamed.get(name, name): value for name, value in fields.items()}}
    return {"kind": "localization", **{renamed.get(name, name): value for name, value in fields.items()}}


def _check(holds: Callable[[Any], bool], fault: str, made: Callable[[Any], Any] = lambda value: value) -> Check:
    """What a field must hold, what is wrong where it does not, and what the value becomes."""

    def check(value: object) -> Any:
        if not holds(value):
            raise ValueError(fault)
        return made(value)

    return check


def _or_none(check: Check, none: Any = None) -> Check:
    return lambda value: none if value is None else check(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object, minimum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def _is_box(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        return False
    return all(abs(corner) <= _MAX_COORDINATE or not math.isfinite(corner) for corner in value)


_text = _check(lambda value: isinstance(value, str), "is not text")
_number = _check(_is_number, "is not a number", float)
_fraction = _check(lambda value: _is_number(value) and math.isfinite(value), "is not a finite number", float)
_score = _or_none(_number, math.nan)
_index = _check(lambda value: _is_whole(value, 0), "is not a whole number of at least 0")
_rank = _check(lambda value: _is_whole(value, 1), "is not a whole number of at least 1")
_object = _check(lambda value: isinstance(value, dict), "is not a JSON object")
_box = _check(_is_box, "is not a box", lambda value: tuple(map(float, value)))
_size = _check(
    lambda value: isinstance(value, list) and len(value) == 2 and all(_is_whole(side, 1) for side in value),
    "is not a width and height",
    tuple,
)
_CLASSES: dict[str, type[Any]] = {"localization": Localization, "detection": Detection, "failure": Failure}
_KIND_OF = {record: kind for kind, record in _CLASSES.items()}
_BOX_FIELDS: dict[str, Check] = {
    "image_id": _text,
    "file": _text,
    "class_name": _text,
    "box_xyxy": _box,
    "area_fraction": _fraction,
    "method": _text,
    "size_wh": _size,
    "rank": _or_none(_rank),
}
_FIELDS: dict[str, dict[str, Check]] = {
    "localization": {
        **_BOX_FIELDS,
        "probability": _score,
        "quality": _score,
        "segmenter": _text,
        "fallback": _or_none(_text),
        "component": _index,
        "mask_rle": _or_none(_object),
    },
    "detection": {**_BOX_FIELDS, "score": _score, "index": _index},
    "failure": {
        **dict.fromkeys(("image_id", "file", "class_name", "stage", "reason"), _text),
        "rank": _or_none(_rank),
    },
}
