"""torchmetrics as the oracle, where it has the metric."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dense import items_of
from made_records import box_of, score, truth_of
from pycocotools import mask as coco_masks
from torchmetrics.detection import MeanAveragePrecision
from torchmetrics.functional.classification import binary_average_precision, binary_jaccard_index
from torchmetrics.functional.detection import intersection_over_union

from wsloc import boxes
from wsloc.evaluation.coco_ap import coco_ap
from wsloc.evaluation.map_masks import mask_iou
from wsloc.evaluation.pxap import ScoreHistograms, pxap, score_histograms

CLASSES = ("cat", "cow", "dog")


def _random_boxes(generator: np.random.Generator, count: int) -> np.ndarray:
    corners = np.sort(generator.uniform(0, 100, (count, 2, 2)), axis=1)
    return np.concatenate([corners[:, 0], corners[:, 1]], axis=1)


def test_iou() -> None:
    generator = np.random.default_rng(0)
    first, second = _random_boxes(generator, 40), _random_boxes(generator, 30)
    expected = intersection_over_union(torch.tensor(first), torch.tensor(second), aggregate=False).numpy()
    assert np.allclose(boxes.iou_matrix(first, second), expected, atol=1e-12)
    assert np.allclose(boxes.paired_iou(first[:30], second), np.diag(expected), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_coco_average_precision(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth, found, predictions, targets = [], [], [], []
    for number in range(12):
        true = _random_boxes(generator, int(generator.integers(1, 5)))
        true_names = generator.integers(0, len(CLASSES), len(true))
        # Some near a true box, some anywhere.
        near = np.clip(true + generator.normal(0, 5, true.shape), 0, 100)
        near = np.concatenate([np.minimum(near[:, :2], near[:, 2:]), np.maximum(near[:, :2], near[:, 2:])], axis=1)
        made = np.concatenate([near, _random_boxes(generator, 2)])
        names = np.concatenate([true_names, generator.integers(0, len(CLASSES), 2)])
        scores = generator.permutation(1000)[: len(made)] / 1000 + number / 1e5
        image_id = str(number)
        objects = [(CLASSES[k], tuple(box)) for k, box in zip(true_names, true.tolist(), strict=True)]
        truth.append(truth_of(image_id, *objects))
        found += [
            box_of(image_id, CLASSES[k], tuple(box), float(value))
            for k, box, value in zip(names, made.tolist(), scores, strict=True)
        ]
        predictions.append(
            {
                "boxes": torch.tensor(made, dtype=torch.float64),
                "scores": torch.tensor(scores),
                "labels": torch.tensor(names),
            }
        )
        targets.append({"boxes": torch.tensor(true, dtype=torch.float64), "labels": torch.tensor(true_names)})
    # Its own recalls are float32: 0.3 there is not 3 / 10, so that a recall of exactly that would miss it.
    recalls, ious = np.linspace(0, 1, 101).tolist(), np.linspace(0.5, 0.95, 10).tolist()
    oracle = MeanAveragePrecision(rec_thresholds=recalls, iou_thresholds=ious, class_metrics=True)
    oracle.update(predictions, targets)
    expected = oracle.compute()
    ours = coco_ap({image.image_id: image for image in truth}, found, score)
    assert ours is not None
    # Its boxes and areas are float32.
    for name, value in (
        ("map", ours.ap),
        ("map_50", ours.ap50),
        ("map_75", ours.ap75),
        ("map_small", ours.ap_small),
        ("map_medium", ours.ap_medium),
        ("map_large", ours.ap_large),
    ):
        assert (-1 if value is None else value) == pytest.approx(float(expected[name]), abs=1e-5)
    by_class = [ours.classes[name].ap for name in CLASSES]
    assert by_class == pytest.approx(expected["map_per_class"].tolist(), abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_pixel_average_precision(seed: int) -> None:
    generator = np.random.default_rng(seed)
    # In the middle of the bins, so that nothing is rounded together.
    scores = (generator.integers(0, 1000, (20, 30)) + 0.5) / 1000
    on_object = generator.random((20, 30)) < scores
    ignored = generator.random((20, 30)) < 0.2
    counted = ~ignored | on_object
    expected = binary_average_precision(torch.tensor(scores[counted]), torch.tensor(on_object[counted]).long())
    (found, wrong) = score_histograms(scores, on_object, ignored)
    ours = pxap(np.ones((1, 1)), ScoreHistograms(items_of([[0.0]]), found[None], wrong[None]))
    assert ours[0] == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_mask_iou(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mask, true = (generator.random((20, 30)) < 0.4 for _ in range(2))
    encoded = coco_masks.encode(np.asfortranarray(mask, dtype=np.uint8))
    rle = {"size": [20, 30], "counts": encoded["counts"].decode()}
    expected = binary_jaccard_index(torch.tensor(mask).long(), torch.tensor(true).long())
    assert mask_iou(rle, true[None]) == pytest.approx(float(expected), abs=1e-6)
