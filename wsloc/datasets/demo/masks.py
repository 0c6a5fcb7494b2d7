"""The demo's masks, as VOC has them: which object a pixel belongs to, and of which class that is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsloc.datasets.demo.outlines import DEMO_CLASSES
from wsloc.datasets.demo.scenes import Scene
from wsloc.datasets.voc_masks import MASK_FOLDERS


def write_masks(voc: Path, image_id: str, scene: Scene) -> None:
    """Writes a scene's two PNG files below ``voc``; a killed run leaves no part of one."""
    objects = np.zeros(scene.image.shape[:2], dtype=np.uint8)
    classes = np.zeros_like(objects)
    for number, (name, mask) in enumerate(zip(scene.class_names, scene.masks, strict=True), start=1):
        objects[mask] = number
        classes[mask] = DEMO_CLASSES.index(name) + 1
    for folder, indices in zip(MASK_FOLDERS, (objects, classes), strict=True):
        (voc / folder).mkdir(exist_ok=True)
        path = voc / folder / f"{image_id}.png"
        partial = path.with_name(f".{image_id}.partial-{os.getpid()}.png")
        try:
            _save(indices, partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def has_masks(voc: Path, image_id: str) -> bool:
    """Whether both files of a scene are there."""
    return all((voc / folder / f"{image_id}.png").is_file() for folder in MASK_FOLDERS)


def _save(indices: NDArray[np.uint8], path: Path) -> None:
    image = Image.fromarray(indices)
    image.putpalette(_palette())
    image.save(path)


def _palette() -> bytes:
    """VOC's colors: the bits of the index go to red, green and blue alternately, filling each from its highest bit."""
    index = np.arange(256)
    colors = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= ((index >> channel & 1) << (7 - bit)).astype(np.uint8)
        index >>= 3
    return colors.tobytes()
