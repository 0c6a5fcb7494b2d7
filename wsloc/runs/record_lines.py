"""The records of a run as lines of JSON, one per line: written, checked when they are read, and upgraded.

``kind`` says which record a line holds: ``localization``, ``detection`` or ``failure``. Runs of version 0.1.0
(schema 1) have no ``kind``; :func:`upgraded` is all that knows of them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from wsloc.records import BoxRecord, Detection, Failure, Localization
from wsloc.runs import checks
from wsloc.runs.checks import Check, checked_fields

SCHEMA_VERSION = 2
Fields = Mapping[str, Any]


def to_line(record: BoxRecord | Failure) -> str:
    """The line of a record."""
    fields = {"kind": _KIND_OF[type(record)], **dataclasses.asdict(record)}
    return json.dumps(fields, ensure_ascii=False) + "\n"


def is_failure(line: str) -> bool:
    """Whether a line that :func:`to_line` made holds a failure; it is not parsed, for a run has millions."""
    return line.startswith('{"kind": "failure"')


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
    record: BoxRecord | Failure = _CLASSES[kind](**checked_fields(fields, _FIELDS[kind]))
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


_CLASSES: dict[str, type[Any]] = {"localization": Localization, "detection": Detection, "failure": Failure}
_KIND_OF = {record: kind for kind, record in _CLASSES.items()}
_SCORE = checks.or_none(checks.number, math.nan)
_BOX_FIELDS: dict[str, Check] = {
    "image_id": checks.text,
    "file": checks.text,
    "class_name": checks.text,
    "box_xyxy": checks.box,
    "area_fraction": checks.fraction,
    "method": checks.text,
    "size_wh": checks.size,
    "rank": checks.or_none(checks.rank),
}
_FIELDS: dict[str, dict[str, Check]] = {
    "localization": {
        **_BOX_FIELDS,
        "probability": _SCORE,
        "quality": _SCORE,
        "segmenter": checks.text,
        "fallback": checks.or_none(checks.text),
        "component": checks.index,
        "mask_rle": checks.or_none(checks.mask),
    },
    "detection": {**_BOX_FIELDS, "score": _SCORE, "index": checks.index},
    "failure": {
        **dict.fromkeys(("image_id", "file", "class_name", "stage", "reason"), checks.text),
        "rank": checks.or_none(checks.rank),
    },
}
