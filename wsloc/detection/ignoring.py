"""Regions that a detector learns nothing from, neither that there is an object nor that there is none.

torchvision's detectors know objects and background alone. An anchor or proposal that stands for no object and lies at
least half inside an ignored region (``target["ignored"]``, boxes ``(M, 4)`` in pixels of the image) is taken out of
the loss here. The parts that decide this are replaced by subclasses of theirs which differ in this alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes

Target = dict[str, Tensor]
_MIN_INSIDE = 0.5
_BACKGROUND, _NEITHER = -1, -2
"""What torchvision's matcher says of an anchor without an object, and of one that it leaves out."""


def lies_inside(boxes: Tensor, regions: Tensor) -> Tensor:
    """Which boxes ``(N, 4)`` have at least half of their area in one of the regions ``(M, 4)``: bool ``(N,)``."""
    if len(regions) == 0:
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    top_left = torch.maximum(boxes[:, None, :2], regions[None, :, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(dim=2)
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
    inside: Tensor = (shared >= _MIN_INSIDE * area[:, None]).any(dim=1) & (area > 0)
    return inside


def make_ignoring(model: Any) -> nn.Module:
    """The same detector, which leaves ``target["ignored"]`` out of its loss; changed in place and returned.

    Args:
        model: a Faster R-CNN, RetinaNet or SSD of torchvision.
    """
    model.transform.__class__ = _Transform
    if isinstance(model, FasterRCNN):
        model.rpn.__class__ = _ProposalNetwork
        model.roi_heads.__class__ = _BoxHeads
    elif isinstance(model, RetinaNet):
        model.head.__class__ = _RetinaHead
    elif isinstance(model, SSD):
        model.__class__ = _SingleShot
    else:
        raise TypeError(f"{type(model).__name__} is not a detector of a known kind")
    detector: nn.Module = model
    return detector


class _Transform(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision has no types
    def resize(self, image: Tensor, target: Target | None = None) -> tuple[Tensor, Target | None]:
        before_hw = image.shape[-2:]
        image, target = super().resize(image, target)
        if target is not None and "ignored" in target:
            target["ignored"] = resize_boxes(target["ignored"], before_hw, image.shape[-2:])
        return image, target


class _ProposalNetwork(RegionProposalNetwork):  # type: ignore[misc]
    def assign_targets_to_anchors(
        self, anchors: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], list[Tensor]]:
        labels, matched = super().assign_targets_to_anchors(anchors, targets)
        for own, boxes, target in zip(labels, anchors, targets, strict=True):
            # Here background is 0, and -1 what is left out.
            own[(own == 0) & lies_inside(boxes, target["ignored"])] = -1
        return labels, matched

    def compute_loss(
        self, objectness: Tensor, pred_bbox_deltas: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        if all(bool((own < 0).all()) for own in labels):
            # torchvision would take the mean over no anchor.
            return 0 * objectness.sum(), 0 * pred_bbox_deltas.sum()
        losses: tuple[Tensor, Tensor] = super().compute_loss(objectness, pred_bbox_deltas, labels, regression_targets)
        return losses


class _BoxHeads(RoIHeads):  # type: ignore[misc]
    def select_training_samples(self, proposals: list[Tensor], targets: list[Target]) -> Any:
        # torchvision hands the matching boxes and labels alone, one call below this one.
        self._ignored = [target["ignored"] for target in targets]
        samples = super().select_training_samples(proposals, targets)
        self._sampled = sum(map(len, samples[0]))
        return samples

    def forward(self, *inputs: Any) -> tuple[list[Target], Target]:
        found, losses = super().forward(*inputs)
        if self.training and self._sampled == 0:
            # torchvision takes the mean over no proposal, which is not a number.
            losses = {name: torch.zeros_like(loss) for name, loss in losses.items()}
        return found, losses

    def assign_targets_to_proposals(
        self, proposals: list[Tensor], gt_boxes: list[Tensor], gt_labels: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        matched, labels = super().assign_targets_to_proposals(proposals, gt_boxes, gt_labels)
        for own, boxes, ignored in zip(labels, proposals, self._ignored, strict=True):
            own[(own == 0) & lies_inside(boxes, ignored)] = -1
        return matched, labels


class _RetinaHead(RetinaNetHead):  # type: ignore[misc]
    def compute_loss(
        self, targets: list[Target], head_outputs: Target, anchors: list[Tensor], matched_idxs: list[Tensor]
    ) -> dict[str, Tensor]:
        for matched, boxes, target in zip(matched_idxs, anchors, targets, strict=True):
            matched[(matched == _BACKGROUND) & lies_inside(boxes, target["ignored"])] = _NEITHER
        losses: dict[str, Tensor] = super().compute_loss(targets, head_outputs, anchors, matched_idxs)
        return losses


class _SingleShot(SSD):  # type: ignore[misc]
    def compute_loss(
        self, targets: list[Target], head_outputs: Target, anchors: list[Tensor], matched_idxs: list[Tensor]
    ) -> dict[str, Tensor]:
        ignored = torch.stack(
            [
                (matched < 0) & lies_inside(boxes, target["ignored"])
                for matched, boxes, target in zip(matched_idxs, anchors, targets, strict=True)
            ]
        )
        # An SSD has no mark for "neither". Where the background is certain the loss is 0 and draws no hard negative.
        logits = head_outputs["cls_logits"]
        certain = torch.zeros(logits.shape[-1], dtype=logits.dtype, device=logits.device)
        certain[0] = 100.0
        outputs = {**head_outputs, "cls_logits": torch.where(ignored[..., None], certain, logits)}
        losses: dict[str, Tensor] = super().compute_loss(targets, outputs, anchors, matched_idxs)
        return losses
