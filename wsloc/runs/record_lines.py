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

from wsloc.records import BoxRecord, BoxXyxy, Detection, Failure, Localization

SCHEMA_VERSION = 2
Fields = Mapping[str, Any]
_MAX_COORDINATE = 1e9
"""Pixels; no image is that large."""


def to_line(record: BoxRecord | Failure) -> str:
    """The line of a record."""
    fields = {"kind": _KIND_OF[type(record)], **dataclasses.asdict(record)}
    return json.dumps(fields, ensure_ascii=False) + "\n"


def from_fields(fields: Fields) -> BoxRecord | Failure:
    """The record of a line; a score that is null is NaN, and so may the numbers of a box be.

    Raises:
        ValueError: if a field is missing or holds what it cannot hold.
    """
    if not isinstance(fields, Mapping):
        raise ValueError("it is no JSON object")
    if (kind := fields.get("kind")) not in _FIELDS:
        raise ValueError(f"its kind is {kind!r}")
    values = {}
    for name, check in _FIELDS[kind].items():
        try:
            values[name] = check(fields.get(name))
        except ValueError as error:
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


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is no text")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is no number")
    return float(value)


def _finite(value: object) -> float:
    if not math.isfinite(number := _number(value)):
        raise ValueError("is not finite")
    return number


def _score(value: object) -> float:
    return math.nan if value is None else _number(value)


def _from(least: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"is no whole number from {least} on")
        return value

    return check


def _size(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("is no width and height")
    width, height = map(_from(1), value)
    return width, height


def _box(value: object) -> BoxXyxy:
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError("is no box of four numbers")
    x0, y0, x1, y1 = map(_number, value)
    if any(math.isfinite(corner) and abs(corner) > _MAX_COORDINATE for corner in (x0, y0, x1, y1)):
        raise ValueError("lies farther out than any image reaches")
    return x0, y0, x1, y1


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")
    return value


def _optional(check: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else check(value)


_CLASSES: dict[str, type[Any]] = {"localization": Localization, "detection": Detection, "failure": Failure}
_KIND_OF = {record: kind for kind, record in _CLASSES.items()}
_BOX_FIELDS: dict[str, Callable[[object], Any]] = {
    "image_id": _text,
    "file": _text,
    "class_name": _text,
    "box_xyxy": _box,
    "area_fraction": _finite,
    "method": _text,
    "size_wh": _size,
    "rank": _optional(_from(1)),
}
_FIELDS: dict[str, dict[str, Callable[[object], Any]]] = {
    "localization": {
        **_BOX_FIELDS,
        "probability": _score,
        "quality": _score,
        "segmenter": _text,
        "fallback": _optional(_text),
        "component": _from(0),
        "mask_rle": _optional(_object),
    },
    "detection": {**_BOX_FIELDS, "score": _score, "index": _from(0)},
    "failure": dict.fromkeys(("image_id", "file", "class_name", "stage", "reason"), _text),
}
