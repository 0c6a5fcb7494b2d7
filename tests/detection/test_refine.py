"""A refiner of one's own: what it gets, what it may answer, and what becomes of its faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_masks

from wsloc.detection.refine import load_refine, refined
from wsloc.detection.self_training import refine_image
from wsloc.errors import ItemError, UserError
from wsloc.pipeline.results import ImageResult, ItemResult
from wsloc.records import ImageRecord, Localization

IMAGE = np.zeros((40, 60, 3), dtype=np.uint8)


def record(mask: NDArray[np.bool_] | None = None) -> Localization:
    rle = None
    if mask is not None:
        encoded = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
        rle = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    box = (10.0, 10.0, 30.0, 20.0)
    return Localization("a", "a.png", "cat", box, 0.5, 0.5, 1 / 12, "cam", "grabcut", None, 0, (60, 40), 1, rle)


def test_it_gets_the_image_the_box_and_the_mask_at_the_size_of_the_image() -> None:
    seen: list[Any] = []

    def keep(*arguments: Any) -> None:
        seen.append(arguments)

    small = np.zeros((20, 30), dtype=bool)
    small[5:10, 5:15] = True
    own = record(small)
    assert refined(own, IMAGE, keep) is own
    assert refined(record(), IMAGE, keep) == record()
    (image, box, mask), (_, _, none) = seen
    assert image is IMAGE
    assert box.tolist() == [10, 10, 30, 20]
    expected = np.zeros((40, 60), dtype=bool)
    expected[10:20, 10:30] = True
    np.testing.assert_array_equal(mask, expected)
    assert none is None


def made_mask() -> NDArray[np.bool_]:
    mask = np.zeros((40, 60), dtype=bool)
    mask[3, 5] = mask[8, 20] = True
    return mask


@pytest.mark.parametrize(
    ("answer", "box"),
    [
        (np.array([1.5, 2, 20, 30]), (1.5, 2, 20, 30)),
        ([-4, 2, 70, 30], (0, 2, 60, 30)),
        (made_mask(), (5, 3, 21, 9)),
        (made_mask().astype(np.uint8) * 255, (5, 3, 21, 9)),
        (made_mask().astype(np.float32), (5, 3, 21, 9)),
    ],
)
def test_what_it_may_answer(answer: Any, box: tuple[float, ...]) -> None:
    found = refined(record(made_mask()), IMAGE, lambda *_: answer)
    assert found.box_xyxy == box
    assert found.area_fraction == pytest.approx((box[2] - box[0]) * (box[3] - box[1]) / 2400)
    assert found.method == "cam+refined"
    assert found.mask_rle is None


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (np.zeros((40, 60), dtype=bool), "an empty mask"),
        (np.zeros((40, 61), dtype=bool), r"shape \(40, 61\), neither a box \(4,\) nor a mask \(40, 60\)"),
        ([5.0, 5, 5, 9], "without area"),
        ([np.nan, 5, 6, 9], "without area"),
        ([100.0, 5, 200, 9], "without area"),
        (np.full((40, 60), 0.25), "numbers other than 0 and 1"),
        ([[1, 2], [3]], "did not return an array"),
        (["1", "2", "3", "4"], "neither a box nor a mask"),
    ],
)
def test_other_answers_are_sentences(answer: Any, sentence: str) -> None:
    with pytest.raises(ItemError, match=sentence):
        refined(record(), IMAGE, lambda *_: answer)


def test_one_that_raises_keeps_the_box(tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    image = ImageRecord("a", "a.png", tmp_path / "a.png", ("cat", "dog"))
    result = ImageResult(image, (ItemResult("cat", (record(),)), ItemResult("dog")))

    def raising(*_: Any) -> NDArray[Any]:
        raise RuntimeError("out of\nmemory")

    found, problems = refine_image(result, raising)
    assert found.items[0].localizations == (record(),)
    assert problems == ("a.png, cat: the refiner raised RuntimeError (out of memory)",)
    (tmp_path / "a.png").unlink()
    found, (problem,) = refine_image(result, raising)
    assert found is result
    assert "does not exist" in problem


def test_it_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "whole_refiner.py").write_text("def whole(image, box, mask):\n    return [0, 0, *image.shape[1::-1]]\n")
    (tmp_path / "my_broken_refiner.py").write_text("import no_such_package\n")
    assert refined(record(), IMAGE, load_refine("whole_refiner:whole")).box_xyxy == (0, 0, 60, 40)
    for name, sentence in {
        "whole_refiner": "must be given as package.module:function",
        "whole_refiner:part": "has no function part",
        "my_broken_refiner:f": "cannot be imported from .* No module named 'no_such_package'",
    }.items():
        with pytest.raises(UserError, match=sentence):
            load_refine(name)
