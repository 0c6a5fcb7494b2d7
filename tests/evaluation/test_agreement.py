"""How far runs agree, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wsloc.errors import UserError
from wsloc.evaluation.agreement import agree, agreement_tables
from wsloc.evaluation.comparison import Contender
from wsloc.records import BoxXyxy, Localization


def _box(image_id: str, box: BoxXyxy, quality: float = 0.5, component: int = 0, name: str = "cat") -> Localization:
    return Localization(
        image_id, f"{image_id}.jpg", name, box, 0.5, quality, 0.1, "cam", "grabcut", None, component, (20, 20)
    )


def _run(name: str, *boxes: Localization, images: str = "abcd", classes: frozenset[str] | None = None) -> Contender:
    return Contender(name, boxes, frozenset(images), classes)


FIRST = _run("one", _box("a", (0, 0, 4, 4), 0.9), _box("b", (0, 0, 4, 4), 0.7), _box("c", (0, 0, 4, 4)))
SECOND = _run(
    "two", _box("a", (0, 0, 4, 4), 0.8), _box("b", (0, 0, 2, 4), 0.2), _box("a", (9, 9, 10, 10), component=1),
    _box("d", (0, 0, 1, 1)),
)  # fmt: skip


def test_by_hand() -> None:
    """The same box in a, half of it in b; c and d have a box in one run alone."""
    found = agree([FIRST, SECOND])
    assert [(item.image_id, item.overlaps, item.qualities) for item in found.items] == [
        ("c", (0.0,), (0.5, None)),
        ("d", (0.0,), (None, 0.5)),
        ("b", (0.5,), (0.7, 0.2)),
        ("a", (1.0,), (0.9, 0.8)),
    ]
    assert (found.names, found.images, found.notes) == (("one", "two"), 4, ())
    runs, spread, shown = agreement_tables(found, 1)
    assert list(runs.rows) == [("one", "3", "1", "0.70"), ("two", "3", "1", "0.50")]
    assert list(spread.rows) == [("two", "0.38", "2", "0", "0", "1", "1")]
    assert list(shown.rows) == [("c", "cat", "0.50", "", "0.00")]


def test_three_runs() -> None:
    third = _run("three", _box("a", (0, 0, 4, 4)), _box("b", (0, 0, 4, 4)))
    found = agree([FIRST, SECOND, third])
    assert {item.image_id: item.overlaps for item in found.items} == {
        "a": (1.0, 1.0), "b": (0.5, 1.0), "c": (0.0, 0.0), "d": (0.0, 0.0)
    }  # fmt: skip
    assert found.overlaps(2).count(1.0) == 2


def test_only_what_both_were_asked_for_counts() -> None:
    dogs = _run("two", _box("a", (0, 0, 4, 4), name="dog"), images="ab", classes=frozenset({"dog"}))
    with pytest.raises(UserError, match="no item with a box in common"):
        agree([replace(FIRST, class_names=frozenset({"cat"})), dogs])
    with pytest.raises(UserError, match="no image in common"):
        agree([FIRST, _run("two", images="xyz")])
