"""The demo written as a VOC data set."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from wsloc import boxes
from wsloc.datasets.demo.masks import has_masks, write_masks
from wsloc.datasets.demo.outlines import DEMO_CLASSES
from wsloc.datasets.demo.scenes import Scene, Split, draw_scene
from wsloc.datasets.voc_xml import Fields, format_xml
from wsloc.errors import UserError
from wsloc.files.documents import parse_json

DEMO_VERSION = 1
"""Raised whenever the same seed gives other images or annotations."""

_MARKER = "demo.json"
_JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True)
class DemoMarker:
    """What a folder of the demo was made with, as written to its ``demo.json``.

    Attributes:
        version: :data:`DEMO_VERSION` of the code that wrote it.
        seed: seed of the scenes.
        train: number of training scenes.
        test: number of test scenes.
    """

    version: int
    seed: int
    train: int
    test: int


def generate_demo(root: Path, seed: int = 0, train: int = 800, test: int = 200) -> None:
    """Writes the demo to ``root/VOCdevkit/VOC2012`` in VOC's layout, with the splits ``train`` and ``test``.

    The images are JPEG files of 224 x 224 pixels, the masks what no other object hides of an object. The same
    arguments give the same bytes wherever the same versions of NumPy, OpenCV and Pillow are installed. The files are
    written to a folder beside ``root`` that gets its name at the end, so that a killed run leaves no part of a data
    set at ``root``.

    Args:
        root: folder to make; it may exist if it is empty.
        seed: seed of the scenes.
        train: number of training scenes.
        test: number of test scenes.

    Raises:
        UserError: if ``root`` holds anything or cannot be written, or scikit-image's sample pictures are
            not those needed.
    """
    if root.exists() and not (root.is_dir() and next(root.iterdir(), None) is None):
        raise UserError(f"{root} exists already: name another folder for the demo or delete this one")
    partial = root.with_name(f".{root.name}.partial-{os.getpid()}")
    try:
        voc = partial / "VOCdevkit" / "VOC2012"
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (voc / folder).mkdir(parents=True)
        _write_split(voc, seed, "train", train)
        _write_split(voc, seed, "test", test)
        marker = DemoMarker(DEMO_VERSION, seed, train, test)
        (partial / _MARKER).write_text(json.dumps(asdict(marker)) + "\n", encoding="utf-8")
        _move(partial, root, marker)
    except OSError as error:
        raise UserError(f"the demo cannot be written to {root}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_marker(root: Path) -> DemoMarker | None:
    """What the demo at ``root`` was made with; None if ``root`` holds no demo."""
    try:
        return DemoMarker(**parse_json((root / _MARKER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def complete_masks(root: Path, marker: DemoMarker, split: str) -> None:
    """Adds the masks that a demo lacks because an earlier wsloc wrote it.

    It stays without them where it cannot be written to, and where this machine draws other scenes than lie there.

    Args:
        root: the demo's folder.
        marker: what it was made with.
        split: the one to complete; nothing is done for one that the demo did not make.
    """
    voc = root / "VOCdevkit" / "VOC2012"
    scenes: list[tuple[Split, int]] = [("train", index) for index in range(marker.train)]
    scenes += [("test", index) for index in range(marker.test)]
    for made, index in scenes:
        image_id = _image_id(made, index)
        if made != split or has_masks(voc, image_id):
            continue
        scene = _scene(marker.seed, made, index)
        try:
            if (voc / "Annotations" / f"{image_id}.xml").read_bytes() != _annotation(image_id, scene):
                return
            write_masks(voc, image_id, scene)
        except OSError:
            return


def _image_id(split: Split, index: int) -> str:
    return f"{split}_{index:06d}"


def _scene(seed: int, split: Split, index: int) -> Scene:
    # A generator for each scene: its content depends on nothing but seed, split and index.
    return draw_scene(np.random.default_rng([seed, split == "test", index]), split)


def _move(partial: Path, root: Path, marker: DemoMarker) -> None:
    try:
        if root.exists():
            root.rmdir()
        partial.rename(root)
    except OSError:
        if read_marker(root) != marker:  # else another process was faster
            raise


def _write_split(voc: Path, seed: int, split: Split, count: int) -> None:
    names_of: dict[str, tuple[str, ...]] = {}
    for index in range(count):
        scene = _scene(seed, split, index)
        image_id = _image_id(split, index)
        Image.fromarray(scene.image).save(voc / "JPEGImages" / f"{image_id}.jpg", quality=_JPEG_QUALITY)
        (voc / "Annotations" / f"{image_id}.xml").write_bytes(_annotation(image_id, scene))
        write_masks(voc, image_id, scene)
        names_of[image_id] = scene.class_names
    lists = voc / "ImageSets" / "Main"
    _write_lines(lists / f"{split}.txt", list(names_of))
    for name in DEMO_CLASSES:
        lines = [f"{image_id} {1 if name in names else -1:2d}" for image_id, names in names_of.items()]
        _write_lines(lists / f"{name}_{split}.txt", lines)


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _annotation(image_id: str, scene: Scene) -> bytes:
    height, width, depth = scene.image.shape
    fields: Fields = [
        ("folder", "VOC2012"),
        ("filename", f"{image_id}.jpg"),
        ("size", [("width", width), ("height", height), ("depth", depth)]),
        ("segmented", 0),
    ]
    for name, box_xyxy, occluded in zip(scene.class_names, scene.boxes_xyxy, scene.occluded, strict=True):
        sides = zip(("xmin", "ymin", "xmax", "ymax"), boxes.to_voc(box_xyxy), strict=True)
        flags = [("truncated", 0), ("occluded", int(occluded)), ("difficult", 0)]
        fields.append(("object", [("name", name), *flags, ("bndbox", list(sides))]))
    return format_xml(fields)
