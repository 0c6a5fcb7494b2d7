"""Small pictures of how boxes came about, kept for at most 200 items of a run, for its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsloc.errors import ItemError
from wsloc.files.names import safe_name, safe_path
from wsloc.files.part_archive import ArchiveReader, ArchiveWriter
from wsloc.pipeline.results import ImageResult
from wsloc.records import ImageRecord, Pair
from wsloc.visualization.layers import encode_layers

PICTURES = "pictures"
"""Folder of a run that holds them, one archive per part."""
MAX_ITEMS = 200


def choose_pictured(images: Sequence[ImageRecord], max_items: int = MAX_ITEMS) -> frozenset[Pair]:
    """The items that get pictures: the same number of each class where it has so many, spread evenly over the images.

    Of images without labels, whose classes the classifier chooses, the best class gets one: its name is empty here.
    """
    of_class: dict[str, list[Pair]] = {}
    for image in images:
        for name in image.labels or ("",):
            of_class.setdefault(name, []).append((image.image_id, name))
    chosen: list[Pair] = []
    rarest_first = sorted(of_class.values(), key=len)
    for done, pairs in enumerate(rarest_first):
        room = (max_items - len(chosen)) // (len(rarest_first) - done)
        indices = np.linspace(0, len(pairs) - 1, min(room, len(pairs))).round().astype(int)
        chosen += [pairs[index] for index in indices]
    return frozenset(chosen)


def add_pictures(part: ArchiveWriter, result: ImageResult, chosen: frozenset[Pair]) -> None:
    """Write the pictures of the chosen items of an image that have a box."""
    image_id = result.image.image_id
    for index, item in enumerate(result.items):
        if item.trace is None or not (
            (image_id, item.class_name) in chosen or (index == 0 and (image_id, "") in chosen)
        ):
            continue
        trace = item.trace
        for layer, content in encode_layers(trace.saliency, trace.trimap, trace.mask).items():
            entry = f"{safe_path(image_id)}/{safe_name(item.class_name)}/{layer}.webp"
            part.add(entry, content, {"image_id": image_id, "class_name": item.class_name, "layer": layer})


def read_pictures(run: Path) -> dict[Pair, dict[str, bytes]]:
    """The layers of all items that a run kept pictures of, as WebP by name; an item with a damaged one is left out.

    Raises:
        UserError: if an archive is damaged.
    """
    reader = ArchiveReader(run / PICTURES, ("image_id", "class_name", "layer"))
    found: dict[Pair, dict[str, bytes]] = {}
    damaged = set()
    for row in reader.rows:
        pair = (row["image_id"], row["class_name"])
        try:
            found.setdefault(pair, {})[row["layer"]] = reader.read(row["entry"])
        except ItemError:
            damaged.add(pair)
    return {pair: layers for pair, layers in found.items() if pair not in damaged}
