"""The marks of a person who went through the report of a run: which items are right, and which are not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsloc.errors import UserError
from wsloc.files.documents import parse_json
from wsloc.files.reading import read_text
from wsloc.records import Pair

_HINT = "give the file that the page of `wsloc report RUN` saves"


@dataclass(frozen=True, slots=True)
class Review:
    """Marks by item; an item has at most one.

    Attributes:
        run: name of the run that was looked at.
        accepted: image id and class name of each item that is right.
        rejected: of each that is not.
    """

    run: str = ""
    accepted: frozenset[Pair] = frozenset()
    rejected: frozenset[Pair] = frozenset()


def read_review(path: Path) -> Review:
    """The marks that the page of a report saved.

    Raises:
        UserError: if the file cannot be read or is no such file, or has an item that is both right and wrong.
    """
    try:
        fields = parse_json(read_text(path, "The review"))
    except ValueError as error:
        raise UserError(f"The review {path} is not JSON; {_HINT}.") from error
    if not isinstance(fields, dict) or not {"accepted", "rejected"} <= fields.keys():
        raise UserError(f"The review {path} has no lists `accepted` and `rejected`; {_HINT}.")
    accepted, rejected = (_pairs(fields[name], path) for name in ("accepted", "rejected"))
    if both := sorted(accepted & rejected):
        raise UserError(f"The review {path} both accepts and rejects {both[0][1]} in {both[0][0]}; leave one out.")
    return Review(str(fields.get("run", "")), accepted, rejected)


def count_unknown(review: Review, known: Iterable[Pair], run: Path) -> int:
    """How many marks are of items that a run has no box of.

    Raises:
        UserError: if all of them are.
    """
    marked = review.accepted | review.rejected
    unknown = marked.difference(known)
    if marked and len(unknown) == len(marked):
        of = f"it is of the run {review.run}" if review.run else "it is of another run"
        raise UserError(f"None of the {len(marked)} marks of `review` is of an item of {run}; {of}.")
    return len(unknown)


def _pairs(entries: Any, path: Path) -> frozenset[Pair]:
    if not isinstance(entries, list):
        raise UserError(f"The review {path} has no lists `accepted` and `rejected`; {_HINT}.")
    found = set()
    for entry in entries:
        named = entry if isinstance(entry, dict) else {}
        image_id, class_name = named.get("image_id"), named.get("class_name")
        if not isinstance(image_id, str) or not isinstance(class_name, str):
            raise UserError(f"The review {path} has an entry without `image_id` and `class_name`; {_HINT}.")
        found.add((image_id, class_name))
    return frozenset(found)
