"""The detectors, by name: torchvision's, Faster R-CNN on more backbones, and a small one for the demo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torchvision
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection._utils import retrieve_out_channels
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteFeatureExtractorMobileNet, SSDLiteHead
from torchvision.ops import MultiScaleRoIAlign

from wsloc.classifiers.small_cnn import SmallCNN
from wsloc.detection.backbones import DEMO, freeze, pretrained
from wsloc.detection.detector_settings import DetectorSettings
from wsloc.detection.ignoring import make_ignoring
from wsloc.registries import DETECTORS

_SCORE_THRESHOLD = 0.01
"""Minimum score of a detection: average precision counts the uncertain ones, too."""

Build = Callable[[int, int | None, Callable[[nn.Module, str], None]], nn.Module]
"""From the number of outputs (with the background), the shorter side of the images (None: the detector's own), and
``load(part, prefix)``, which fills the part of the backbone whose weights have names with this prefix."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A detector that can be built: an entry of :data:`wsloc.registries.DETECTORS`.

    Attributes:
        build: makes it.
        backbone: the classifier that it is built on.
        frozen: name prefixes of the backbone's first layers, which stay as they are where they are pretrained.
        learning_rate: its highest, for a batch of 8.
    """

    build: Build
    backbone: str
    frozen: tuple[str, ...]
    learning_rate: float = 0.01


def build_detector(settings: DetectorSettings, class_names: tuple[str, ...], seed: int = 0) -> nn.Module:
    """A detector with an untrained head, and its backbone as the settings say.

    In training mode it maps images, float32 ``(3, H, W)`` in [0, 1], and targets (``boxes`` ``(N, 4)``, ``labels``
    ``(N,)`` from 1, ``ignored`` ``(M, 4)``, see :mod:`wsloc.detection.ignoring`) to losses by name; in evaluation mode
    images to ``boxes``, ``labels`` and ``scores``. Boxes are half-open, in pixels of the image as given.

    Args:
        settings: which one.
        class_names: K classes; output k is class k, from 1.
        seed: of the first weights.

    Raises:
        UserError: if the weights of the backbone are missing or belong to another one.
    """
    architecture = DETECTORS[settings.arch]
    classifier = pretrained(settings, architecture.backbone)
    loaded: list[nn.Module] = []

    def load(part: nn.Module, prefix: str) -> None:
        if classifier is not None:
            state = classifier.state_dict()
            part.load_state_dict({name: state[prefix + name] for name in part.state_dict()})
            loaded.append(part)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = architecture.build(1 + len(class_names), settings.image_size, load)
    for part in loaded:
        if architecture.frozen:
            freeze(part, architecture.frozen)
    return make_ignoring(model)


def require_backbone(settings: DetectorSettings) -> None:
    """Refuse weights that the detector cannot begin with, before anything is written.

    Raises:
        UserError: if the weights of the backbone are missing or belong to another one.
    """
    pretrained(settings, DETECTORS[settings.arch].backbone)


def _sides(image_size: int | None, shorter: int, longer: int) -> dict[str, int]:
    """The sides that the images are brought to, the longer one in the same ratio."""
    own = image_size or shorter
    return {"min_size": own, "max_size": round(own * longer / shorter)}


def _mobilenet_v3_320(outputs: int, image_size: int | None, load: Callable[[nn.Module, str], None]) -> nn.Module:
    model = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=outputs,
        box_score_thresh=_SCORE_THRESHOLD,
        **_sides(image_size, 320, 640),
    )
    load(model.backbone.body, "features.")
    return _typed(model)


def _resnet50_v2(
    make: Callable[..., nn.Module],
    threshold: str,
    outputs: int,
    image_size: int | None,
    load: Callable[[nn.Module, str], None],
) -> nn.Module:
    thresholds = {threshold: _SCORE_THRESHOLD}
    model = make(
        weights=None, weights_backbone=None, num_classes=outputs, **thresholds, **_sides(image_size, 800, 1333)
    )
    load(model.backbone.body, "")  # type: ignore[union-attr, arg-type]
    return model


def _ssdlite(outputs: int, image_size: int | None, load: Callable[[nn.Module, str], None]) -> nn.Module:
    """As torchvision builds it with pretrained weights. Without any it would halve the last layers, and so could not
    take weights from a file."""
    del image_size  # fixed by the architecture
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    trunk = torchvision.models.mobilenet_v3_large(weights=None, norm_layer=norm).features
    load(trunk, "features.")
    last_stage = max(k for k, block in enumerate(trunk) if getattr(block, "_is_cn", False))
    backbone = SSDLiteFeatureExtractorMobileNet(trunk, last_stage, norm)
    anchors = DefaultBoxGenerator([[2, 3] for _ in range(6)], min_ratio=0.2, max_ratio=0.95)
    channels = retrieve_out_channels(backbone, (320, 320))
    return _typed(
        SSD(
            backbone,
            anchors,
            (320, 320),
            outputs,
            head=SSDLiteHead(channels, anchors.num_anchors_per_location(), outputs, norm),
            score_thresh=_SCORE_THRESHOLD,
            nms_thresh=0.55,
            detections_per_img=300,
            topk_candidates=300,
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
        )
    )


def _with_pyramid(
    classifier: str,
    stages: Mapping[str, int],
    outputs: int,
    image_size: int | None,
    load: Callable[[nn.Module, str], None],
) -> nn.Module:
    """Faster R-CNN with a feature pyramid on stages of a classifier's ``features``, named with their channels."""
    features = torchvision.models.get_model(classifier, weights=None).features
    names = {name: str(level) for level, name in enumerate(stages)}
    backbone = BackboneWithFPN(features, names, list(stages.values()), 256)
    # The layers as the detector holds them: what replaces one of ``features`` would not reach it.
    load(backbone.body, "features.")
    return _typed(
        FasterRCNN(
            backbone,
            outputs,
            box_score_thresh=_SCORE_THRESHOLD,
            **_sides(image_size, 600, 1000),
        )
    )


def _mobilenet_v2_320(outputs: int, image_size: int | None, load: Callable[[nn.Module, str], None]) -> nn.Module:
    """Like torchvision's mobilenet_v3_large_320_fpn: only the last two stages, at strides 16
    and 32, which bear anchors of every size. With few proposals, it learns an image in a fifth of a second of one
    core, at 224 pixels."""
    features = torchvision.models.mobilenet_v2(weights=None).features
    channels, hidden = 128, 512
    backbone = BackboneWithFPN(features, {"13": "0", "18": "1"}, [96, 1280], channels)
    load(backbone.body, "features.")
    # One set of anchors for each of the two maps and for the one that is pooled from the last.
    anchors = AnchorGenerator(((32, 64, 128, 256),) * 3, ((0.5, 1.0, 2.0),) * 3)
    pooled = MultiScaleRoIAlign(["0", "1"], output_size=7, sampling_ratio=2)
    return _typed(
        FasterRCNN(
            backbone,
            box_predictor=FastRCNNPredictor(hidden, outputs),
            rpn_anchor_generator=anchors,
            box_roi_pool=pooled,
            box_head=TwoMLPHead(channels * 7 * 7, hidden),
            rpn_pre_nms_top_n_train=1000,
            rpn_pre_nms_top_n_test=500,
            rpn_post_nms_top_n_train=300,
            rpn_post_nms_top_n_test=100,
            rpn_batch_size_per_image=128,
            box_batch_size_per_image=64,
            box_score_thresh=_SCORE_THRESHOLD,
            **_sides(image_size, 320, 640),
        )
    )


def _small_cnn(outputs: int, image_size: int | None, load: Callable[[nn.Module, str], None]) -> nn.Module:
    """Faster R-CNN on the last two stages of the demo's classifier, at strides 8 and 16."""
    channels = 64
    backbone = BackboneWithFPN(SmallCNN(1).features, {"14": "0", "18": "1"}, [96, 128], channels)
    load(backbone.body, "features.")
    anchors = AnchorGenerator(((24, 40), (56, 80), (112, 152)), ((0.5, 1.0, 2.0),) * 3)
    pooled = MultiScaleRoIAlign(["0", "1"], output_size=5, sampling_ratio=2)
    return _typed(
        FasterRCNN(
            backbone,
            box_predictor=FastRCNNPredictor(256, outputs),
            rpn_anchor_generator=anchors,
            box_roi_pool=pooled,
            box_head=TwoMLPHead(channels * 5 * 5, 256),
            rpn_pre_nms_top_n_train=300,
            rpn_pre_nms_top_n_test=200,
            rpn_post_nms_top_n_train=150,
            rpn_post_nms_top_n_test=60,
            rpn_batch_size_per_image=64,
            box_batch_size_per_image=64,
            box_score_thresh=_SCORE_THRESHOLD,
            image_mean=[0.45] * 3,
            image_std=[0.25] * 3,
            **_sides(image_size, 160, 320),
        )
    )


_DETECTION = torchvision.models.detection
_RESNET_FROZEN = ("conv1", "bn1", "layer1")

FASTERRCNN_MOBILENET_V3_LARGE_320_FPN = Architecture(
    _mobilenet_v3_320, "mobilenet_v3_large", ("0.", "1.", "2.", "3.", "4.", "5.", "6.")
)
FASTERRCNN_RESNET50_FPN_V2 = Architecture(
    partial(_resnet50_v2, _DETECTION.fasterrcnn_resnet50_fpn_v2, "box_score_thresh"), "resnet50", _RESNET_FROZEN
)
RETINANET_RESNET50_FPN_V2 = Architecture(
    partial(_resnet50_v2, _DETECTION.retinanet_resnet50_fpn_v2, "score_thresh"), "resnet50", _RESNET_FROZEN, 0.005
)
SSDLITE320_MOBILENET_V3_LARGE = Architecture(_ssdlite, "mobilenet_v3_large", ())
FASTERRCNN_MOBILENET_V2_FPN = Architecture(
    partial(_with_pyramid, "mobilenet_v2", {"3": 24, "6": 32, "13": 96, "18": 1280}),
    "mobilenet_v2",
    ("0.", "1.", "2.", "3."),
)
FASTERRCNN_MOBILENET_V2_320_FPN = Architecture(
    _mobilenet_v2_320, "mobilenet_v2", ("0.", "1.", "2.", "3.", "4.", "5.", "6."), 0.02
)
FASTERRCNN_DENSENET121_FPN = Architecture(
    partial(
        _with_pyramid,
        "densenet121",
        {"denseblock1": 256, "denseblock2": 512, "denseblock3": 1024, "norm5": 1024},
    ),
    "densenet121",
    ("conv0", "norm0", "denseblock1", "transition1"),
)
FASTERRCNN_SMALL_CNN = Architecture(_small_cnn, DEMO, (), 0.02)


def _typed(model: Any) -> nn.Module:
    """torchvision has no types."""
    assert isinstance(model, nn.Module)
    return model
