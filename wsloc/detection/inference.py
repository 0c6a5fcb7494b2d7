"""What a detector finds in images, as the records of a run; it gets no labels."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from wsloc import boxes
from wsloc.detection.learner import as_input
from wsloc.errors import ItemError
from wsloc.images import read_image
from wsloc.ordered import ordered_map
from wsloc.pipeline.results import ImageResult, ItemResult
from wsloc.records import DETECTED, Detection, Failure, ImageRecord

Scored = tuple[tuple[float, float, float, float], float]
"""A box, ``xyxy``, and its score."""


def detect(
    model: nn.Module,
    images: Sequence[ImageRecord],
    class_names: Sequence[str],
    device: torch.device,
    *,
    batch_size: int = 8,
    pool: Executor | None = None,
) -> Iterator[ImageResult]:
    """All detections on some images, in their order.

    Args:
        model: a detector, in evaluation mode, on the device.
        images: one that cannot be read becomes a failure.
        class_names: of outputs 1, 2 and so on.
        device: where the model is.
        batch_size: images per batch.
        pool: reads the images; None to read them between the batches.
    """
    loaded = ordered_map(pool, _read, images, window=2 * batch_size)
    # Python 3.12 has itertools.batched.
    while batch := tuple(itertools.islice(loaded, batch_size)):
        readable = [pixels for _, pixels in batch if isinstance(pixels, np.ndarray)]
        found = iter(_outputs(model, readable, class_names, device))
        for image, pixels in batch:
            if isinstance(pixels, str):
                failure = Failure(image.image_id, image.file, "", "read", pixels)
                yield ImageResult(image, (ItemResult("", failure=failure),))
            else:
                yield _result(image, next(found), (pixels.shape[1], pixels.shape[0]))


def _read(image: ImageRecord) -> tuple[ImageRecord, NDArray[np.uint8] | str]:
    try:
        return image, read_image(image.source)
    except ItemError as error:
        return image, str(error)


def _outputs(
    model: nn.Module, pixels: Sequence[NDArray[np.uint8]], class_names: Sequence[str], device: torch.device
) -> list[dict[str, list[Scored]]]:
    """Of each image the boxes by class, the highest score first."""
    if not pixels:
        return []
    with torch.inference_mode():
        outputs = model([as_input(torch.from_numpy(image.transpose(2, 0, 1)), device) for image in pixels])
    found = []
    for image, output in zip(pixels, outputs, strict=True):
        by_class: dict[str, list[Scored]] = defaultdict(list)
        given = boxes.clip(output["boxes"].cpu().double().numpy(), (image.shape[1], image.shape[0]))
        scores, labels = output["scores"].cpu().double().tolist(), output["labels"].cpu().tolist()
        for box, area, score, label in zip(given.tolist(), boxes.area(given), scores, labels, strict=True):
            # RetinaNet has an output for the background, which it never learns to use. A NaN has no place.
            if label > 0 and area > 0 and np.isfinite(score):
                by_class[class_names[label - 1]].append((tuple(box), score))
        for own in by_class.values():
            own.sort(key=lambda scored: -scored[1])
        found.append(dict(by_class))
    return found


def _result(image: ImageRecord, found: dict[str, list[Scored]], size_wh: tuple[int, int]) -> ImageResult:
    ranked = sorted(found, key=lambda name: -found[name][0][1])
    items = [
        ItemResult(
            name,
            tuple(
                detection(image, name, box, score, size_wh, index=index, rank=rank)
                for index, (box, score) in enumerate(found[name])
            ),
        )
        for rank, name in enumerate(ranked, start=1)
    ]
    return ImageResult(image, tuple(items))


def detection(
    image: ImageRecord,
    class_name: str,
    box_xyxy: tuple[float, float, float, float],
    score: float,
    size_wh: tuple[int, int],
    *,
    index: int = 0,
    rank: int | None = None,
    method: str = DETECTED,
) -> Detection:
    """The record of a box that has a score and nothing else."""
    x0, y0, x1, y1 = box_xyxy
    return Detection(
        image_id=image.image_id,
        file=image.file,
        class_name=class_name,
        box_xyxy=box_xyxy,
        score=score,
        area_fraction=(x1 - x0) * (y1 - y0) / (size_wh[0] * size_wh[1]),
        method=method,
        index=index,
        size_wh=size_wh,
        rank=rank,
    )
