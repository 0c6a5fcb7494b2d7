"""Cut-outs that scenes are composed of: objects, coins and colored blobs."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from wsloc.datasets.demo.compose import Rgba
from wsloc.datasets.demo.outlines import Outline, load_outlines, rasterize
from wsloc.datasets.demo.pictures import GRAY, load_picture

FEATHER_PX = 0.6
MAX_ROTATION_DEG = 12.0
MAX_GROWTH = 1.2
"""The factor by which turning and tilting may widen a cut-out at most: the largest must still fit into its scene."""

_BLOB_SIDE = 96

# Center and radius in pixels of coins.png; the first half for training scenes, the second for test scenes.
_COINS_XYR = (
    (334.5, 43.5, 27.5),
    (155.5, 50.5, 21.5),
    (102.0, 195.5, 20.5),
    (212.5, 193.0, 22.5),
    (348.0, 187.0, 31.0),
    (46.0, 260.0, 26.5),
    (171.5, 261.5, 26.0),
    (300.0, 264.0, 24.0),
)


def draw_object(rng: np.random.Generator, name: str, side_px: float, tilt: float) -> Rgba:
    """An object of class ``name``, flipped and turned at random.

    Args:
        rng: source of randomness.
        name: one of the demo's classes.
        side_px: longer side of the object, before it is turned.
        tilt: how far each corner moves at most, as a fraction of the side: a slight perspective.

    Returns:
        Premultiplied float32 ``(h, w, 4)`` in [0, 1], cropped to what is visible.
    """
    rgba, gray = _object_source(name)
    if gray:
        rgba = _colored(rgba, random_tint(rng, 0.5))
    return _posed(rng, _lit(rng, rgba), side_px, tilt)


def draw_distractor(rng: np.random.Generator, test: bool, side_px: float, tilt: float) -> Rgba:
    """A coin or a colored blob of no class; arguments and result as for :func:`draw_object`.

    Training and test scenes show different coins.
    """
    if rng.random() < 0.5:
        half = len(_COINS_XYR) // 2
        rgba = _colored(_coin_source(int(rng.integers(half)) + half * test), random_tint(rng, 0.8))
    else:
        rgba = _draw_blob(rng)
    return _posed(rng, _lit(rng, rgba), side_px, tilt)


def random_tint(rng: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """A color ``(3,)`` to multiply a gray picture by: mean 1, each channel off by ``strength`` at most."""
    tint = 1 + strength * rng.uniform(-0.5, 0.5, 3)
    return np.asarray(tint / tint.mean(), dtype=np.float32)


@cache
def _object_source(name: str) -> tuple[Rgba, bool]:
    outline = load_outlines()[name]
    return _cut(outline), outline.picture in GRAY


@cache
def _coin_source(index: int) -> Rgba:
    x, y, radius = _COINS_XYR[index]
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = np.array([x, y]) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return _cut(Outline("coin", "coins.png", (ring,)))


def _cut(outline: Outline) -> Rgba:
    picture = load_picture(outline.picture)
    mask = rasterize(outline.rings_xy, (picture.shape[0], picture.shape[1]))
    return _cropped(np.dstack([picture * mask[..., None], mask]).astype(np.float32))


def _draw_blob(rng: np.random.Generator) -> Rgba:
    """A smooth closed shape in two random colors, striped or plain."""
    y, x = np.mgrid[-1 : 1 : _BLOB_SIDE * 1j, -1 : 1 : _BLOB_SIDE * 1j]
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    radius = np.full_like(angle, 0.7)
    for lobes in (2, 3, 5):
        radius += rng.uniform(0, 0.3 / lobes) * np.cos(lobes * angle + rng.uniform(0, 2 * np.pi))
    direction = rng.uniform(0, np.pi)
    stripes = 0.5 + 0.5 * np.sin(rng.uniform(0, 20) * (x * np.cos(direction) + y * np.sin(direction)))
    color_a, color_b = rng.uniform(0, 1, (2, 3))
    color = color_a + (color_b - color_a) * stripes[..., None]
    mask = distance < radius
    return _cropped(np.dstack([color * mask[..., None], mask]).astype(np.float32))


def _colored(rgba: Rgba, tint: NDArray[np.float32]) -> Rgba:
    colored = rgba.copy()
    colored[..., :3] = np.minimum(rgba[..., :3] * tint, rgba[..., 3:])
    return colored


def _lit(rng: np.random.Generator, rgba: Rgba) -> Rgba:
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3)
    return _colored(rgba, gain.astype(np.float32))


def _posed(rng: np.random.Generator, rgba: Rgba, side_px: float, tilt: float) -> Rgba:
    """The cut-out flipped, scaled, turned, tilted and feathered."""
    if rng.random() < 0.5:
        rgba = rgba[:, ::-1]
    shrink = side_px / max(rgba.shape[:2])
    width, height = (max(1, round(side * shrink)) for side in (rgba.shape[1], rgba.shape[0]))
    small = cv2.resize(rgba, (width, height), interpolation=cv2.INTER_AREA)
    canvas = math.ceil(math.hypot(width, height) * (1 + 2 * tilt)) + 8
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    angle = np.deg2rad(rng.uniform(-MAX_ROTATION_DEG, MAX_ROTATION_DEG))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    moved = corners @ turn + rng.uniform(-tilt, tilt, (4, 2)) * [width, height]
    widest = float((moved.max(axis=0) - moved.min(axis=0)).max())
    moved *= min(1, MAX_GROWTH * side_px / widest)
    homography = cv2.getPerspectiveTransform(
        (corners + np.array([width, height]) / 2).astype(np.float32), (moved + canvas / 2).astype(np.float32)
    )
    warped = cv2.warpPerspective(small, homography, (canvas, canvas), flags=cv2.INTER_LINEAR)
    return _cropped(cv2.GaussianBlur(warped, (0, 0), FEATHER_PX).astype(np.float32))


def _cropped(rgba: Rgba) -> Rgba:
    rows, columns = (np.flatnonzero((rgba[..., 3] > 0.004).any(axis=axis)) for axis in (1, 0))
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
