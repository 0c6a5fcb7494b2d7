"""Backgrounds: textures and object-free parts of photographs, other ones for training than for test."""

from __future__ import annotations

import cv2
import numpy as np

from wsloc.datasets.demo.compose import Rgb
from wsloc.datasets.demo.cutouts import random_tint
from wsloc.datasets.demo.pictures import GRAY, load_picture

Region = tuple[str, tuple[int, int, int, int]]
"""A picture and a half-open ``xyxy`` box in its pixels that shows none of the demo's objects."""

TRAIN_REGIONS: tuple[Region, ...] = (
    ("brick.png", (0, 0, 250, 512)),
    ("grass.png", (0, 0, 250, 512)),
    ("gravel.png", (0, 0, 250, 512)),
    ("ihc.png", (0, 0, 250, 512)),
    ("hubble_deep_field.jpg", (0, 0, 490, 872)),
    ("retina.jpg", (250, 250, 690, 1150)),
    ("cell.png", (0, 0, 550, 260)),
    ("coffee.png", (492, 110, 600, 400)),
    ("motorcycle_left.png", (590, 0, 741, 240)),
    ("camera.png", (340, 0, 512, 240)),
    ("chelsea.png", (385, 90, 451, 300)),
    ("astronaut.png", (0, 0, 90, 190)),
)
TEST_REGIONS: tuple[Region, ...] = (
    ("brick.png", (262, 0, 512, 512)),
    ("grass.png", (262, 0, 512, 512)),
    ("gravel.png", (262, 0, 512, 512)),
    ("ihc.png", (262, 0, 512, 512)),
    ("hubble_deep_field.jpg", (510, 0, 1000, 872)),
    ("retina.jpg", (720, 250, 1160, 1150)),
    ("cell.png", (0, 300, 300, 660)),
    ("coffee.png", (430, 0, 600, 100)),
    ("motorcycle_left.png", (0, 0, 320, 105)),
    ("camera.png", (415, 250, 512, 410)),
    ("astronaut.png", (306, 0, 352, 225)),
)


def draw_background(rng: np.random.Generator, regions: tuple[Region, ...], side_px: int) -> Rgb:
    """A square piece of one of the regions, mirrored, tinted and lit at random.

    Args:
        rng: source of randomness.
        regions: :data:`TRAIN_REGIONS` or :data:`TEST_REGIONS`.
        side_px: side of the result in pixels.

    Returns:
        RGB float32 ``(side_px, side_px, 3)`` in [0, 1].
    """
    picture, (x0, y0, x1, y1) = regions[int(rng.integers(len(regions)))]
    region = load_picture(picture)[y0:y1, x0:x1]
    height, width = region.shape[:2]
    side = int(rng.integers(min(height, width) // 2, min(height, width) + 1))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    piece = region[top : top + side, left : left + side]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    tint = random_tint(rng, 0.8 if picture in GRAY else 0.2)
    interpolation = cv2.INTER_AREA if side > side_px else cv2.INTER_LINEAR
    resized = cv2.resize(piece, (side_px, side_px), interpolation=interpolation)
    lit = np.clip(resized * tint * rng.uniform(0.7, 1.2), 0, 1)
    return np.asarray(lit, dtype=np.float32)
