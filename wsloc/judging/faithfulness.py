"""Insertion and deletion curves of saved maps, with the network that they are of."""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

from wsloc.classifiers.preprocessing import whole
from wsloc.classifiers.scorer import logits_without_graph
from wsloc.datasets import Dataset
from wsloc.errors import ItemError
from wsloc.evaluation import estimate
from wsloc.evaluation.insertion_deletion import CausalCurves, causal_curves
from wsloc.evaluation.items import Items, ItemValues, mean_over_items
from wsloc.evaluation.map_source import MapOf, filled
from wsloc.images import read_image
from wsloc.judging.map_metrics import MetricGroup
from wsloc.pipeline.model import BoundModel
from wsloc.progress import Progress, silent
from wsloc.records import ImageRecord


def insertion_and_deletion(
    model: BoundModel, dataset: Dataset, items: Items, map_of: MapOf, count: int, progress: Progress = silent
) -> MetricGroup:
    """The mean areas under both curves over some items.

    Args:
        model: the network that the maps are of.
        dataset: its images.
        items: what is judged.
        map_of: from image id and class name to the map.
        count: how many items, spread evenly over all.
        progress: counts the items.
    """
    images = {image.image_id: image for image in dataset.images}
    indices = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)).tolist()
    pairs = items.pairs()
    kept = np.zeros(len(items), dtype=bool)
    found: list[CausalCurves] = []
    for index in progress(indices, "insertion, deletion", "item"):
        image_id, class_name = pairs[index]
        curves = curves_of_item(model, images[image_id], class_name, map_of)
        if curves is not None:
            kept[index] = True
            found.append(curves)
    left_out = len(indices) - len(found)
    notes = (f"{left_out} of {len(indices)} items have no map, no image or no output, and are left out.",)
    judged = items.keep(kept)
    areas = {
        "insertion AUC (higher is better)": [curves.insertion_auc for curves in found],
        "deletion AUC (lower is better)": [curves.deletion_auc for curves in found],
    }
    metrics = {
        name: estimate(mean_over_items, ItemValues(judged, np.array(values)))
        for name, values in areas.items()
        if values
    }
    return MetricGroup(f"insertion and deletion, {len(found)} items", metrics, notes if left_out else ())


def curves_of_item(model: BoundModel, image: ImageRecord, class_name: str, map_of: MapOf) -> CausalCurves | None:
    """The curves of one (image, class) pair.

    The network sees the whole image, whatever views the map was averaged over; a map of another size is brought to the
    network's bilinearly.

    Returns:
        None if the image cannot be read, the class has no output, or there is no map.
    """
    saliency, index = map_of(image.image_id, class_name), model.class_index.get(class_name)
    if saliency is None or index is None:
        return None
    try:
        views = whole(read_image(image.source), model.classifier.preprocessing)
    except ItemError:
        return None
    pixels = views.views[0].pixels.to(model.scorer.device)
    height, width = pixels.shape[1:]
    values = filled(saliency)
    if values.shape != (height, width):
        values = np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float64)

    def probability(images: Tensor) -> Tensor:
        return model.scorer.probabilities(logits_without_graph(model.scorer, images))[:, index]

    return causal_curves(probability, pixels, values)
