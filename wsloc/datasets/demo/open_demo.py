"""The demo as a data set, written on first use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wsloc.datasets.dataset import Dataset
from wsloc.datasets.demo.generate import DEMO_VERSION, complete_masks, generate_demo, read_marker
from wsloc.datasets.voc import VOC, open_voc
from wsloc.errors import UserError


def open_demo(root: Path, split: str) -> Dataset:
    """Images and image-level labels of a split of the demo; its scenes are generated if ``root`` is missing or empty,
    and its masks if an earlier wsloc left them out.

    Args:
        root: the demo's folder.
        split: ``train`` or ``test``.

    Raises:
        UserError: if ``root`` holds something else, a demo of another version or no such split.
    """
    marker = read_marker(root)
    if marker is None:
        generate_demo(root)
    elif marker.version != DEMO_VERSION:
        raise UserError(
            f"{root} holds version {marker.version} of the demo and this wsloc makes version {DEMO_VERSION}: "
            "delete the folder, and it is made again"
        )
    dataset = replace(open_voc(root, "2012", split, name="demo"), label_map=None)
    if marker is not None:
        complete_masks(root, marker, split)
    return dataset


DEMO = replace(
    VOC,
    open=lambda root, split, _settings: open_demo(root, split),
    default_root=Path("data/demo"),
    default_split="test",
)
