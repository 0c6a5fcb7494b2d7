"""One scene: a background, none to three objects of different classes, and distractors behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsloc.boxes import mask_box
from wsloc.datasets.demo.backgrounds import TEST_REGIONS, TRAIN_REGIONS, draw_background
from wsloc.datasets.demo.compose import Layer, Rgb, Rgba, compose, opaque_masks, visible_masks
from wsloc.datasets.demo.cutouts import draw_distractor, draw_object
from wsloc.datasets.demo.outlines import DEMO_CLASSES

Split = Literal["train", "test"]

SCENE_SIDE = 224
MIN_VISIBLE_SHARE = 0.75
TEST_TILT = 0.06

_OBJECT_COUNT_SHARES = (0.1, 0.4, 0.3, 0.2)
# Longer side of an object as a fraction of the scene's, by the number of objects.
_SIDE_SHARES = {1: (0.38, 0.8), 2: (0.3, 0.55), 3: (0.25, 0.42)}
_DISTRACTOR_SIDE_SHARES = (0.1, 0.3)
_MAX_DISTRACTORS = 3


@dataclass(frozen=True, slots=True)
class Scene:
    """A composed picture and its truth.

    Attributes:
        image: RGB uint8 ``(H, W, 3)``.
        class_names: class of each of the N objects.
        boxes_xyxy: their boxes, half-open, in whole pixels, around what no other object hides.
        occluded: whether another object hides a part of them.
        masks: bool ``(N, H, W)``, what no other object hides of them.
    """

    image: NDArray[np.uint8]
    class_names: tuple[str, ...]
    boxes_xyxy: tuple[tuple[int, int, int, int], ...]
    occluded: tuple[bool, ...]
    masks: NDArray[np.bool_]


def draw_scene(rng: np.random.Generator, split: Split) -> Scene:
    """A scene of 224 x 224 pixels; test scenes have backgrounds, light and perspective of their own."""
    test = split == "test"
    tilt = TEST_TILT if test else 0.0
    background = draw_background(rng, TEST_REGIONS if test else TRAIN_REGIONS, SCENE_SIDE)
    distractors = [
        _placed(rng, draw_distractor(rng, test, SCENE_SIDE * rng.uniform(*_DISTRACTOR_SIDE_SHARES), tilt))
        for _ in range(rng.integers(_MAX_DISTRACTORS + 1))
    ]
    count = int(rng.choice(len(_OBJECT_COUNT_SHARES), p=_OBJECT_COUNT_SHARES))
    names = tuple(str(name) for name in rng.choice(DEMO_CLASSES, count, replace=False))
    cutouts = [draw_object(rng, name, SCENE_SIDE * rng.uniform(*_SIDE_SHARES[count]), tilt) for name in names]
    objects, opaque = _placed_apart(rng, cutouts)
    visible = visible_masks(opaque)
    image = compose(background, [*distractors, *objects])
    if test:
        image = image * _slanting_light(rng)
    return Scene(
        image=np.clip(image * 255, 0, 255).round().astype(np.uint8),
        class_names=names,
        boxes_xyxy=tuple(mask_box(mask) for mask in visible),
        occluded=tuple(bool(hidden) for hidden in (visible != opaque).any(axis=(1, 2))),
        masks=visible,
    )


def _placed(rng: np.random.Generator, rgba: Rgba) -> Layer:
    height, width = rgba.shape[:2]
    return Layer(
        rgba,
        left=int(rng.integers(SCENE_SIDE - width + 1)),
        top=int(rng.integers(SCENE_SIDE - height + 1)),
    )


def _placed_apart(rng: np.random.Generator, cutouts: list[Rgba]) -> tuple[list[Layer], NDArray[np.bool_]]:
    """Positions at which every object stays visible for the most part, and the masks of all objects."""
    while True:  # a few tries do: three objects cover less than half of the scene
        layers = [_placed(rng, cutout) for cutout in cutouts]
        opaque = opaque_masks(layers, (SCENE_SIDE, SCENE_SIDE))
        areas, visible_areas = opaque.sum(axis=(1, 2)), visible_masks(opaque).sum(axis=(1, 2))
        if (visible_areas >= MIN_VISIBLE_SHARE * areas).all():
            return layers, opaque


def _slanting_light(rng: np.random.Generator) -> Rgb:
    """Light that falls off across the scene: float32 ``(H, W, 3)`` around 1."""
    y, x = np.mgrid[-1 : 1 : SCENE_SIDE * 1j, -1 : 1 : SCENE_SIDE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0, 0.25)
    light = rng.uniform(0.85, 1.1) + slope * (x * np.cos(angle) + y * np.sin(angle))
    return np.asarray(light[..., None] * rng.uniform(0.94, 1.06, 3), dtype=np.float32)
