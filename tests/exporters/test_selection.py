"""Which boxes are exported, and why the others are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_run import record
from torchvision.ops import nms

from wsloc.errors import UserError
from wsloc.exporters.export_settings import LayoutSettings, SelectionSettings
from wsloc.exporters.selection import TopFraction, select
from wsloc.records import Localization

WH = (100, 100)
BOXES = [
    record("i", "cat", (0, 0, 50, 50), WH, quality=0.9, probability=0.1),
    record("i", "cat", (0, 0, 50, 45), WH, quality=0.4, probability=0.8, component=1),
    record("i", "cat", (60, 60, 70, 70), WH, quality=0.6, probability=0.5, component=2),
    record("i", "dog", (0, 0, 50, 50), WH, quality=0.2, probability=0.9, fallback="seeds"),
]


@pytest.mark.parametrize(
    ("settings", "kept", "reasons"),
    [
        ({}, [0, 1, 2, 3], {}),
        ({"min_score": 0.5}, [0, 2], {1: "below `min_score`", 3: "below `min_score`"}),
        ({"min_score": 0.4}, [0, 1, 2], {3: "below `min_score`"}),
        ({"min_score": 0.5, "score": "probability"}, [1, 2, 3], {0: "below `min_score`"}),
        ({"min_area": 0.01}, [0, 1, 2, 3], {}),
        ({"min_area": 0.02}, [0, 1, 3], {2: "below `min_area`"}),
        ({"fallbacks": "drop"}, [0, 1, 2], {3: "fallback"}),
        ({"boxes_per_class": 1}, [0, 3], {1: "beyond `boxes_per_class`", 2: "beyond `boxes_per_class`"}),
        ({"boxes_per_class": 2}, [0, 1, 3], {2: "beyond `boxes_per_class`"}),
        # IoU of the first two is 0.9; of other classes' boxes nothing is said.
        ({"nms": 0.9}, [0, 1, 2, 3], {}),
        ({"nms": 0.89}, [0, 2, 3], {1: "duplicate by `nms`"}),
        ({"nms": 0.5, "score": "probability"}, [1, 2, 3], {0: "duplicate by `nms`"}),
        ({"nms": 0.5, "boxes_per_class": 2}, [0, 2, 3], {1: "duplicate by `nms`"}),
        # What is too weak to stay takes no other with it.
        ({"nms": 0.5, "score": "probability", "min_score": 0.85}, [3], dict.fromkeys(range(3), "below `min_score`")),
    ],
)
def test_what_is_kept(settings: dict[str, Any], kept: list[int], reasons: dict[int, str]) -> None:
    found = select(BOXES, SelectionSettings(**settings))
    assert [BOXES.index(box.record) for box in found.kept] == kept
    assert {BOXES.index(one): reason for one, reason in found.left_out} == reasons
    assert not any(box.uncertain for box in found.kept)


def test_the_uncertain_ones() -> None:
    settings = SelectionSettings(min_score=0.3, ignore_below=0.6, uncertain="ignore")
    found = select(BOXES, settings)
    assert [(box.score, box.uncertain) for box in found.kept] == [(0.9, False), (0.4, True), (0.6, False)]


@pytest.mark.parametrize(
    ("fraction", "best"),
    [(1.0, "11111"), (0.4, "01010"), (0.41, "01110"), (0.6, "01110"), (0.2, "01000"), (1e-6, "01000")],
)
def test_the_top_share_is_rounded_up_and_ties_go_to_the_first(fraction: float, best: str) -> None:
    top = TopFraction({"cat": [0.1, 0.9, 0.2, 0.9, 0.2], "dog": [0.3]}, fraction)
    found = [top.next_is_best("cat") for _ in range(3)]
    assert top.next_is_best("dog")
    found += [top.next_is_best("cat") for _ in range(2)]
    assert "".join(str(int(one)) for one in found) == best


def test_of_many_equal_scores_the_first_are_best() -> None:
    top = TopFraction({"cat": [0.5] * 1000}, 0.3)
    assert [top.next_is_best("cat") for _ in range(1000)] == [True] * 300 + [False] * 700


@given(
    st.lists(
        st.tuples(*[st.integers(0, 8)] * 2, *[st.integers(1, 8)] * 2, st.integers(0, 10**6)),
        min_size=1,
        max_size=12,
        unique_by=lambda row: row[4],
    ),
    st.sampled_from([0.1, 0.3, 0.5, 0.7]),
)
def test_duplicates_as_torchvision_finds_them(rows: list[tuple[int, ...]], most: float) -> None:
    records: list[Localization] = [
        record("i", "cat", (x, y, x + w, y + h), WH, quality=score / 10**6, component=place)
        for place, (x, y, w, h, score) in enumerate(rows)
    ]
    boxes = torch.tensor([one.box_xyxy for one in records], dtype=torch.float64)
    theirs = nms(boxes, torch.tensor([one.quality for one in records], dtype=torch.float64), most)
    found = select(records, SelectionSettings(nms=most))
    assert [box.record.component for box in found.kept] == sorted(theirs.tolist())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 1))
def test_none_that_is_left_out_is_better(scores: list[float], fraction: float) -> None:
    top = TopFraction({"a": scores}, fraction)
    best = np.array([top.next_is_best("a") for _ in scores])
    assert best.sum() == max(1, int(np.ceil(fraction * len(scores) - 1e-9)))
    assert best.all() or np.array(scores)[best].min() >= np.array(scores)[~best].max()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"min_score": 1.5}, "`min_score` must be between 0 and 1"),
        ({"min_area": -0.1}, "`min_area` must be between"),
        ({"nms": 2.0}, "`nms` must be between"),
        ({"top_fraction": 0.0}, "`top_fraction` must be above 0"),
        ({"boxes_per_class": 0}, "`boxes_per_class` must be at least 1"),
        ({"ignore_below": 0.5}, "`ignore_below` selects boxes for `uncertain='ignore'`"),
    ],
)
def test_what_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        SelectionSettings(**settings)


@pytest.mark.parametrize("fraction", [1.0, -0.1])
def test_a_share_that_is_none(fraction: float) -> None:
    with pytest.raises(UserError, match="`val_fraction` must be between"):
        LayoutSettings(val_fraction=fraction)
