"""All metrics against true masks, in one pass: masks and maps are asked for once, and none is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsloc.errors import ItemError, MissingMaskError
from wsloc.evaluation import wsol
from wsloc.evaluation.items import Items, ItemValues, items_of
from wsloc.evaluation.map_boxes import Protocol
from wsloc.evaluation.map_source import Map, MapOf
from wsloc.evaluation.pxap import BINS, ScoreHistograms, score_histograms, scores_at, wsol_mask
from wsloc.progress import Progress, silent
from wsloc.records import Box, Pair, TrueMasks, first_boxes
from wsloc.run_lengths import decode_at


@dataclass(frozen=True, slots=True, eq=False)
class JudgedMasks:
    """How well maps, or the masks of boxes, match true masks.

    Attributes:
        items: the (image, class) pairs with a true mask.
        histograms: for PxAP; None if no maps were given.
        iou: of each item's mask with the best true mask of its class, 0 if it has none; None if no masks were
            given.
        without_map: indices of the items that have no map, which counts as one that is 0 everywhere.
        problems: one sentence for each image whose masks cannot be read, and each mask of a box that is damaged; an
            image without masks is not one.
    """

    items: Items
    histograms: ScoreHistograms | None
    iou: ItemValues | None
    without_map: tuple[int, ...]
    problems: tuple[str, ...]


def judge_masks(
    image_ids: Sequence[str],
    read_masks: Callable[[str], TrueMasks],
    map_of: MapOf | None = None,
    localizations: Iterable[Box] = (),
    pairs: Collection[Pair] | None = None,
    protocol: Protocol = "wsloc",
    progress: Progress = silent,
) -> JudgedMasks | None:
    """Judge maps, and the masks of a run's boxes, against the true masks.

    Args:
        image_ids: of the images that are judged.
        read_masks: the true masks of an image; asked once for each, in their order.
        map_of: asked once for each item.
        localizations: of a run; of several components of an item the largest alone counts.
        pairs: only these items; None for all that have a mask.
        protocol: ``wsloc`` judges maps at the resolution of the true masks, ``wsol`` at 224 x 224, as the published
            code does.
        progress: counts the images.

    Returns:
        None if no image has a mask of a class that is asked for, and none is damaged.
    """
    found_boxes = first_boxes(localizations)
    rles = {pair: box.mask_rle for pair, box in found_boxes.items() if box.mask_rle is not None}
    found: list[Pair] = []
    iou: list[float] = []
    pixels: list[NDArray[np.int32]] = []
    without_map: list[int] = []
    problems: list[str] = []
    for pair, own, ignored in _true_masks(progress(image_ids, "masks", "image"), read_masks, problems):
        if pairs is not None and pair not in pairs:
            continue
        if map_of is not None:
            if (saliency := map_of(*pair)) is None:
                without_map.append(len(found))
            pixels.append(_histograms(saliency, np.asarray(own.any(axis=0)), ignored, protocol))
        try:
            iou.append(mask_iou(rles[pair], own) if pair in rles else 0.0)
        except ItemError as error:
            iou.append(0.0)
            problems.append(f"{', '.join(pair)}: {error}")
        found.append(pair)
    if not found and not problems:
        return None
    items = items_of(found)
    if not found:
        return JudgedMasks(items, None, None, (), tuple(problems))
    histograms = None if map_of is None else _by_image(items, np.array(pixels))
    values = ItemValues(items, np.array(iou)) if rles else None
    return JudgedMasks(items, histograms, values, tuple(without_map), tuple(problems))


def _true_masks(
    image_ids: Iterable[str], read_masks: Callable[[str], TrueMasks], problems: list[str]
) -> Iterator[tuple[Pair, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Each item of the images with its true masks ``(M, H, W)`` and the pixels to be ignored ``(H, W)``."""
    for image_id in image_ids:
        try:
            truth = read_masks(image_id)
        except MissingMaskError:
            continue
        except ItemError as error:
            problems.append(f"{image_id}: {error}")
            continue
        for class_name in sorted(set(truth.class_names)):
            own = [name == class_name for name in truth.class_names]
            yield (image_id, class_name), truth.masks[own], truth.ignored


def mask_iou(mask_rle: Mapping[str, Any], true_masks: NDArray[np.bool_]) -> float:
    """IoU of a mask with the best of some true masks, in pixels of the image.

    Args:
        mask_rle: compressed run lengths of COCO, of a mask of any resolution that covers the whole image; brought to
            the image's by the nearest pixel.
        true_masks: bool ``(M, H, W)``, M >= 1.

    Raises:
        ItemError: if the run lengths are damaged.
    """
    height, width = true_masks.shape[1:]
    mask = decode_at(mask_rle, (width, height))
    shared = (mask & true_masks).sum(axis=(1, 2))
    either = (mask | true_masks).sum(axis=(1, 2))
    return float((shared / np.maximum(either, 1)).max())


def _histograms(
    saliency: Map | None, on_object: NDArray[np.bool_], ignored: NDArray[np.bool_], protocol: Protocol
) -> NDArray[np.int32]:
    height, width = on_object.shape
    drawn = np.zeros((1, 1)) if saliency is None else saliency
    if protocol == "wsol":
        return score_histograms(wsol.score_map(drawn), wsol_mask(on_object), wsol_mask(ignored))
    return score_histograms(scores_at(drawn, (width, height)), on_object, ignored)


def _by_image(items: Items, pixels: NDArray[np.int32]) -> ScoreHistograms:
    """Histograms ``(N, 2, BINS)`` of the items, summed over those of an image."""
    summed = np.zeros((len(items.image_ids), 2, BINS), dtype=np.int32)
    np.add.at(summed, items.image_index, pixels)
    return ScoreHistograms(items, summed[:, 0], summed[:, 1])
