"""Ignored regions teach a detector nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from wsloc.detection.detector_settings import DetectorSettings
from wsloc.detection.ignoring import lies_inside, make_ignoring
from wsloc.detection.models import build_detector


def test_half_inside_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [1, 0, 5, 4], [2, 0, 6, 4], [3, 0, 7, 4], [10, 10, 10, 20]])
    regions = torch.tensor([[0.0, 0, 4, 8], [6, 0, 7, 4]])
    # Shares inside the first: 1, 3/4, 1/2, 1/4 (with a quarter in the second as well: no single one holds half).
    assert lies_inside(boxes, regions).tolist() == [True, True, True, False, False]
    assert lies_inside(boxes, torch.zeros(0, 4)).tolist() == [False] * 5


def small(arch: str) -> nn.Module:
    size = None if arch.startswith("ssdlite") else 64
    return build_detector(DetectorSettings(arch=arch, backbone="none", image_size=size), ("thing",))


def target(boxes: list[list[float]], ignored: list[list[float]]) -> dict[str, Tensor]:
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "labels": torch.ones(len(boxes), dtype=torch.int64),
        "ignored": torch.tensor(ignored).reshape(-1, 4),
    }


def test_regions_are_scaled_with_their_image() -> None:
    model = small("fasterrcnn_small_cnn").train()
    images, targets = model.transform([torch.rand(3, 32, 48)], [target([[2, 4, 10, 20]], [[0, 0, 24, 16]])])  # type: ignore[operator]
    assert images.image_sizes == [(64, 96)]
    assert targets[0]["boxes"].tolist() == [[4, 8, 20, 40]]
    assert targets[0]["ignored"].tolist() == [[0, 0, 48, 32]]


def test_anchors_in_a_region_are_neither_object_nor_background() -> None:
    rpn = small("fasterrcnn_small_cnn").rpn
    anchors = [torch.tensor([[0.0, 0, 20, 20], [30, 30, 50, 50], [60, 60, 80, 80]])]
    labels, _ = rpn.assign_targets_to_anchors(anchors, [target([[0, 0, 20, 20]], [[25, 25, 55, 55], [0, 0, 9, 9]])])  # type: ignore[operator, union-attr]
    assert labels[0].tolist() == [1, -1, 0]
    labels, _ = rpn.assign_targets_to_anchors(anchors, [target([], [[0, 0, 55, 55]])])  # type: ignore[operator, union-attr]
    assert labels[0].tolist() == [-1, -1, 0]


def test_proposals_in_a_region_are_not_sampled() -> None:
    heads = small("fasterrcnn_small_cnn").roi_heads
    proposals = [torch.tensor([[30.0, 30, 50, 50], [60, 60, 80, 80]])]
    chosen, _, labels, _ = heads.select_training_samples(proposals, [target([[0, 0, 20, 20]], [[25, 25, 55, 55]])])  # type: ignore[operator, union-attr]
    # The object itself is always a proposal.
    assert {(tuple(box), int(label)) for box, label in zip(chosen[0].tolist(), labels[0], strict=True)} == {
        ((60.0, 60.0, 80.0, 80.0), 0),
        ((0.0, 0.0, 20.0, 20.0), 1),
    }


def test_images_that_are_ignored_as_a_whole_have_a_loss_of_zero() -> None:
    model = small("fasterrcnn_small_cnn").train()
    losses = model([torch.rand(3, 64, 64)] * 2, [target([], [[-500, -500, 500, 500]]) for _ in range(2)])
    assert {name: loss.item() for name, loss in losses.items()} == dict.fromkeys(losses, 0)
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
    assert all(bool((p.grad == 0).all()) for p in model.parameters() if p.grad is not None)
    # With one image that teaches something, the loss is that of this image.
    losses = model([torch.rand(3, 64, 64)] * 2, [target([], [[-500, -500, 500, 500]]), target([[2, 2, 40, 40]], [])])
    assert all(bool(loss.isfinite()) for loss in losses.values())
    assert losses["loss_classifier"] > 0


def class_gradients(arch: str, ignored: list[list[float]]) -> Tensor:
    """How much each anchor's class scores matter to the loss of a one-stage detector: ``(A,)``; and the anchors."""
    torch.manual_seed(0)
    model = small(arch).eval()  # batch statistics of one image would not do
    side = 320 if arch.startswith("ssdlite") else 64
    scale = side / 64
    pixels = torch.rand(1, 3, side, side)
    images = ImageList(pixels, [(side, side)])
    features = list(model.backbone(pixels).values())  # type: ignore[operator]
    outputs = model.head(features)  # type: ignore[operator]
    scores = outputs["cls_logits"]
    scores.retain_grad()
    anchors = model.anchor_generator(images, features)  # type: ignore[operator]
    own = target([], [[value * scale for value in region] for region in ignored])
    own["boxes"], own["labels"] = torch.tensor([[2.0, 2, 30, 30]]) * scale, torch.tensor([1])
    matched = [model.proposal_matcher(box_iou(own["boxes"], anchors[0]))]  # type: ignore[operator]
    if arch.startswith("ssdlite"):
        losses = model.compute_loss([own], outputs, anchors, matched)  # type: ignore[operator]
    else:
        losses = model.head.compute_loss([own], outputs, anchors, matched)  # type: ignore[operator, union-attr]
    torch.autograd.backward(losses["classification"])
    inside = lies_inside(anchors[0], torch.tensor([[34.0, 34, 64, 64]]) * scale) & (matched[0] < 0)
    return scores.grad[0].abs().sum(dim=1)[inside]


@pytest.mark.parametrize("arch", ["retinanet_resnet50_fpn_v2", "ssdlite320_mobilenet_v3_large"])
def test_one_stage_detectors_learn_nothing_there(arch: str) -> None:
    region = [[34.0, 34.0, 64.0, 64.0]]
    assert class_gradients(arch, region).max() == 0
    assert class_gradients(arch, []).max() > 0


def test_another_kind_of_detector_is_refused() -> None:
    class Odd(nn.Module):
        transform = small("fasterrcnn_small_cnn").transform

    with pytest.raises(TypeError, match="Odd is not a detector"):
        make_ignoring(Odd())
