"""The demo's objects: outlines traced by hand, and the masks they enclose."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask

DEMO_CLASSES: tuple[str, ...] = ("astronaut", "cameraman", "cat", "cup", "motorcycle", "shuttle")


@dataclass(frozen=True, slots=True)
class Outline:
    """Where one object is in one sample picture.

    Attributes:
        name: class of the object.
        picture: file name of the sample picture.
        rings_xy: closed polygons ``(N, 2)``, in pixels of the picture, (0, 0) being the corner of its
            first pixel: the outer outline, then holes.
    """

    name: str
    picture: str
    rings_xy: tuple[NDArray[np.float64], ...]


def load_outlines() -> dict[str, Outline]:
    """The outlines of ``outlines.txt``, by class, in the order of :data:`DEMO_CLASSES`."""
    text = files("wsloc.datasets.demo").joinpath("outlines.txt").read_text(encoding="utf-8")
    outlines = {outline.name: outline for outline in _parse(text)}
    return {name: outlines[name] for name in DEMO_CLASSES}


def rasterize(rings_xy: tuple[NDArray[np.float64], ...], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose center lies inside an outline: bool ``(H, W)``; a ring inside another is a hole."""
    mask = np.zeros(size_hw, dtype=bool)
    for ring in rings_xy:
        # scikit-image counts from the center of the first pixel, and names the row first.
        mask ^= polygon2mask(size_hw, ring[:, ::-1] - 0.5)  # type: ignore[no-untyped-call]
    return mask


def _parse(text: str) -> list[Outline]:
    outlines: list[tuple[str, str, list[list[list[float]]]]] = []
    for line in text.splitlines():
        match line.split():
            case [] | ["#", *_]:
                continue
            case ["object", name, picture]:
                outlines.append((name, picture, []))
            case ["ring"]:
                outlines[-1][2].append([])
            case points:
                outlines[-1][2][-1].extend([float(value) for value in point.split(",")] for point in points)
    return [Outline(name, picture, tuple(np.array(ring) for ring in rings)) for name, picture, rings in outlines]
