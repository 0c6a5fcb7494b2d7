"""Pictures of chosen items. A run keeps none, so they are localized once more, by the same settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import numpy as np

from wsloc.datasets import Dataset
from wsloc.errors import ItemError
from wsloc.images import read_image
from wsloc.pipeline import Localizer, localize
from wsloc.pipeline.results import ImageResult
from wsloc.records import ImageRecord
from wsloc.report.gallery import Box, GalleryItem, Pair
from wsloc.report.pictures import Layers, encode_layers, encode_photo, photo_bytes

TOLERANCE = 1.0
"""Pixels by which a box may differ from the recorded one before the page says so."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph as a data URI with its true size; or, with an empty URI, the reason why there is none."""

    uri: str
    size_wh: tuple[int, int]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of some items.

    Attributes:
        photos: by image id.
        layers: by item; an item that has none has no entry.
        notes: by item: that the box is another one now.
        reason: why there are no layers at all; empty where there may be some.
    """

    photos: dict[str, Photo] = field(default_factory=dict)
    layers: dict[Pair, Layers] = field(default_factory=dict)
    notes: dict[Pair, str] = field(default_factory=dict)
    reason: str = ""


def chosen_images(items: Sequence[GalleryItem], dataset: Dataset) -> tuple[ImageRecord, ...]:
    """The images of some items in the order of the data set, labeled with the classes that are to be looked for."""
    wanted: dict[str, list[str]] = {}
    for item in items:
        # Of an item without a box there is no map that could be shown.
        wanted.setdefault(item.image_id, []).extend([item.class_name] if item.boxes_xyxy else [])
    return tuple(
        replace(image, labels=tuple(wanted[image.image_id])) for image in dataset.images if image.image_id in wanted
    )


def take_pictures(
    items: Sequence[GalleryItem],
    images: Sequence[ImageRecord],
    localizer: Localizer | None,
    pictures: Pictures,
    pool: Executor | None = None,
) -> Iterator[None]:
    """Fill in the pictures of some items; yields once an image.

    Args:
        items: to be shown.
        images: as :func:`chosen_images` gives them.
        localizer: of the run; None to take the photographs alone.
        pictures: to be filled.
        pool: threads that read and cut.

    Raises:
        UserError: if the device runs out of memory.
    """
    most = photo_bytes(len(images), len(items))
    recorded = {item.pair: item for item in items}
    known = frozenset(()) if localizer is None else frozenset(localizer.class_index)
    # A record may name a class that the data set no longer has.
    asked = [replace(image, labels=tuple(label for label in image.labels if label in known)) for image in images]
    results: Iterator[ImageResult] = iter(())
    if localizer is not None:
        results = localize(replace(localizer, top_k=None), [image for image in asked if image.labels], pool)
    for image in asked:
        pictures.photos[image.image_id] = _photo(image, most)
        if image.labels:
            _keep_layers(next(results), recorded, pictures)
        yield


def _photo(image: ImageRecord, max_bytes: int) -> Photo:
    try:
        pixels = read_image(image.path)
    except ItemError as error:
        return Photo("", (0, 0), f"No picture: {str(error).rstrip('.')}.")
    return Photo(encode_photo(pixels, max_bytes), (pixels.shape[1], pixels.shape[0]))


def _keep_layers(result: ImageResult, recorded: Mapping[Pair, GalleryItem], pictures: Pictures) -> None:
    for made in result.items:
        pair = result.image.image_id, made.class_name
        if made.trace is None:
            why = made.failure.reason if made.failure is not None else "there is no map"
            pictures.notes[pair] = (
                f"Localized again it has no box ({why.rstrip('.')}); the box shown is the recorded one."
            )
            continue
        pictures.layers[pair] = encode_layers(made.trace, len(recorded))
        if not _equal(tuple(found.box_xyxy for found in made.localizations), recorded[pair].boxes_xyxy):
            pictures.notes[pair] = (
                "Localized again its box is another one, so map, seeds and mask are not those of the box shown."
            )


def _equal(made: tuple[Box, ...], recorded: tuple[Box, ...]) -> bool:
    return len(made) == len(recorded) and bool((np.abs(np.subtract(made, recorded)) <= TOLERANCE).all())
