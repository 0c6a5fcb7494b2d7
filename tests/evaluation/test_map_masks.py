"""One pass over the true masks of a small set."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from wsloc.errors import ItemError, MissingMaskError
from wsloc.evaluation import wsol
from wsloc.evaluation.bootstrap import estimate
from wsloc.evaluation.items import mean_over_items
from wsloc.evaluation.map_masks import judge_masks
from wsloc.evaluation.pxap import pxap
from wsloc.records import Localization, TrueMasks


def _lit(*rows: int) -> np.ndarray:
    mask = np.zeros((8, 8), dtype=bool)
    mask[list(rows)] = True
    return mask


MASKS = {
    "b": TrueMasks(np.stack([_lit(0), _lit(1), _lit(4, 5)]), ("dog", "dog", "cat"), _lit(7)),
    "a": TrueMasks(np.stack([_lit(3)]), ("cat",), _lit()),
    "none": TrueMasks(np.zeros((0, 8, 8), dtype=bool), (), _lit()),
}
IDS = ["b", "broken", "unmasked", "a", "none"]
PERFECT = {("b", "cat"): _lit(4, 5), ("b", "dog"): _lit(0, 1), ("a", "cat"): _lit(3)}


def _read(image_id: str) -> TrueMasks:
    if image_id == "broken":
        raise ItemError("its masks are torn")
    if image_id == "unmasked":
        raise MissingMaskError("nobody drew it")
    return MASKS[image_id]


def _map_of(*pair: str) -> np.ndarray | None:
    return PERFECT[pair[0], pair[1]].astype(np.float32) if pair in PERFECT else None


def _found(image_id: str, class_name: str, mask: np.ndarray | None, component: int = 0) -> Localization:
    rle = None
    if mask is not None:
        encoded = coco_masks.encode(np.asfortranarray(mask, dtype=np.uint8))
        rle = {"size": list(mask.shape), "counts": encoded["counts"].decode()}
    return Localization(
        image_id, "x.jpg", class_name, (0, 0, 8, 8), 0.5, 0.5, 1.0, "cam", "grabcut", None, component, (8, 8), 1, rle
    )


def test_perfect_maps_and_what_cannot_be_read() -> None:
    judged = judge_masks(IDS, _read, _map_of)
    assert judged is not None
    assert judged.items.pairs() == [("b", "cat"), ("b", "dog"), ("a", "cat")]
    assert judged.items.image_ids == ("b", "a")
    assert judged.problems == ("broken: its masks are torn",)
    assert judged.without_map == ()
    assert judged.iou is None
    assert judged.histograms is not None
    # Image b counts for both of its classes, each time without its 8 ignored pixels.
    assert (judged.histograms.on_object + judged.histograms.on_background).sum(axis=1).tolist() == [2 * 56, 64]
    assert judged.histograms.on_object.sum(axis=1).tolist() == [16 + 16, 8]
    assert estimate(pxap, judged.histograms).value == 1


def test_an_item_without_a_map_scores_0_everywhere() -> None:
    judged = judge_masks(["a"], _read, lambda *_: None)
    assert judged is not None
    assert judged.without_map == (0,)
    assert judged.histograms is not None
    assert estimate(pxap, judged.histograms).value == 8 / 64


def test_the_published_protocol_counts_at_224() -> None:
    judged = judge_masks(["b"], _read, _map_of, protocol="wsol")
    assert judged is not None
    assert judged.histograms is not None
    assert judged.histograms.on_object.sum() == 2 * 2 * 28 * 224
    assert judged.histograms.on_background.sum() == 2 * (224 - 3 * 28) * 224
    own = wsol.score_map(_lit(4, 5).astype(np.float32))[4 * 28 : 6 * 28]
    other = wsol.score_map(_lit(0, 1).astype(np.float32))[: 2 * 28]
    assert judged.histograms.on_object[0, 1000] == (own == 1).sum() + (other == 1).sum()


def test_masks_of_boxes() -> None:
    localizations = [
        _found("b", "dog", _lit(0, 2)),  # shares a row of 3 with the first dog
        _found("b", "dog", _lit(1), component=1),
        _found("b", "cat", None),
        _found("a", "cat", _lit(3)),
        _found("elsewhere", "cat", _lit(3)),
    ]
    judged = judge_masks(IDS, _read, localizations=localizations)
    assert judged is not None
    assert judged.histograms is None
    assert judged.iou is not None
    assert judged.iou.values.tolist() == [0, 1 / 2, 1]
    assert estimate(mean_over_items, judged.iou).value == 0.5


def test_a_damaged_mask_is_told_and_missed() -> None:
    torn = _found("a", "cat", _lit(3))
    torn = Localization(**{name: getattr(torn, name) for name in torn.__slots__} | {"mask_rle": {"size": [8, 8]}})
    judged = judge_masks(["a"], _read, localizations=[torn])
    assert judged is not None
    assert judged.iou is not None
    assert judged.iou.values.tolist() == [0]
    assert len(judged.problems) == 1
    assert judged.problems[0].startswith("a, cat: the run lengths")


@pytest.mark.parametrize(
    ("pairs", "left"),
    [({("b", "dog"), ("b", "bird")}, [("b", "dog")]), ({("a", "cat"), ("b", "cat")}, [("b", "cat"), ("a", "cat")])],
)
def test_only_the_items_asked_for(pairs: set[tuple[str, str]], left: list[tuple[str, str]]) -> None:
    judged = judge_masks(IDS, _read, _map_of, pairs=pairs)
    assert judged is not None
    assert judged.items.pairs() == left


def test_nothing_to_judge() -> None:
    assert judge_masks([], _read, _map_of) is None
    assert judge_masks(["none"], _read, _map_of) is None
    assert judge_masks([name for name in IDS if name != "broken"], _read, _map_of, pairs=()) is None
    damaged = judge_masks(["none", "broken"], _read, _map_of)
    assert damaged is not None
    assert (len(damaged.items), damaged.histograms, damaged.problems) == (0, None, ("broken: its masks are torn",))
