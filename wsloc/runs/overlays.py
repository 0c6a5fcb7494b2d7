"""Pictures of the first items of a run."""

from __future__ import annotations

from pathlib import Path

from wsloc import boxes
from wsloc.files.atomic import write_picture
from wsloc.files.names import safe_name
from wsloc.pipeline.results import ImageResult
from wsloc.visualization import item_panel

OVERLAYS = "overlays"
"""Folder of a run that holds them."""


def write_overlays(folder: Path, result: ImageResult) -> None:
    """Write a JPEG for each item of an image that has a box.

    Raises:
        UserError: if the disk is full or the folder cannot be written.
    """
    for item in result.items:
        if item.trace is None:
            continue
        height, width = item.trace.mask.shape
        first = item.localizations[0]
        drawn = [boxes.scale(found.box_xyxy, found.size_wh, (width, height))[0] for found in item.localizations]
        scores = f"p {first.score_by('probability'):.2f}  quality {first.score_by('quality'):.2f}"
        caption = f"{item.class_name}  {scores}  {result.image.image_id}"
        trace = item.trace
        panel = item_panel(trace.image_rgb, trace.saliency, trace.trimap, trace.mask, drawn, caption)
        name = safe_name(f"{result.image.image_id}-{item.class_name}")
        write_picture(folder / f"{name}.jpg", panel)
