"""Ground truth and boxes written down in one line each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wsloc.records import GroundTruth, Localization

Box = tuple[float, float, float, float]
SIZE_WH = (100, 100)


def truth_of(image_id: str, *objects: tuple[str, Box] | tuple[str, Box, str]) -> GroundTruth:
    """Objects are class, box and, if they are not ordinary, ``difficult`` or ``crowd``."""
    kinds = [rest[0] if rest else "" for _, _, *rest in objects]
    boxes = [box for _, box, *_ in objects]
    names = [name for name, *_ in objects]
    regions = [number for number, kind in enumerate(kinds) if kind == "crowd"]
    rest = [number for number, kind in enumerate(kinds) if kind != "crowd"]

    def stacked(chosen: list[int]) -> np.ndarray:
        return np.array([boxes[number] for number in chosen], dtype=np.float64).reshape(-1, 4)

    return GroundTruth(
        image_id,
        stacked(rest),
        tuple(names[number] for number in rest),
        np.array([kinds[number] == "difficult" for number in rest], dtype=bool),
        SIZE_WH,
        stacked(regions),
        tuple(names[number] for number in regions),
    )


def box_of(image_id: str, class_name: str, box: Box, score: float = 0.5, component: int = 0) -> Localization:
    """A box whose probability is its score."""
    return replace(
        _EXAMPLE, image_id=image_id, class_name=class_name, box_xyxy=box, probability=score, component=component
    )


def score(record: Localization) -> float:
    return record.probability


_EXAMPLE = Localization(
    image_id="",
    file="image.jpg",
    class_name="",
    box_xyxy=(0, 0, 1, 1),
    probability=0,
    quality=0.5,
    area_fraction=0.1,
    method="gradient",
    segmenter="grabcut",
    fallback=None,
    component=0,
    size_wh=SIZE_WH,
)
