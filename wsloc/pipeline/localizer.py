"""Everything that a run needs to localize, put together once from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from wsloc.classifiers import (
    VIEWS,
    Classifier,
    LabelMap,
    Preprocessing,
    Views,
    check_network,
    load_classifier,
    make_scorer,
    resolve_label_map,
)
from wsloc.classifiers.scorer import Scorer
from wsloc.config import LocalizeConfig, SaliencySettings, SegmentationSettings
from wsloc.datasets import Dataset
from wsloc.errors import UserError
from wsloc.saliency import BoundMethod, MethodContext, bind_method

MakeViews = Callable[[NDArray[np.uint8], Preprocessing], Views]


@dataclass(frozen=True, slots=True, eq=False)
class Localizer:
    """From an image and a class to boxes.

    Attributes:
        classifier_name: short, for run folders and tables.
        scorer: the network and the classes it can be asked for.
        label_map: all classes asked for, also those without an output.
        class_index: row of the scorer for each class that has outputs.
        preprocessing: what the network expects.
        make_views: from an RGB image to the network's inputs.
        method_name: of the saliency method.
        method: the saliency method, made ready for the scorer's network: who replaces one replaces both.
        top_k: how many of the classifier's best classes to look for; None to look for the labels.
        segmentation: from map to boxes.
        batch_size: network inputs in a batch.
        seed: of the run.
    """

    classifier_name: str
    scorer: Scorer
    label_map: LabelMap
    class_index: dict[str, int]
    preprocessing: Preprocessing
    make_views: MakeViews
    method_name: str
    method: BoundMethod
    top_k: int | None
    segmentation: SegmentationSettings
    batch_size: int
    seed: int


def make_localizer(config: LocalizeConfig, dataset: Dataset, classifier: Classifier | None = None) -> Localizer:
    """Load the classifier and map the classes of the data set to its outputs.

    Args:
        config: all settings.
        dataset: whose classes will be asked for.
        classifier: your own; None to load what the configuration names.

    Raises:
        UserError: whatever is wrong with the device, the network, its weights or the classes.
    """
    device = choose_device(config.compute.device)
    classifier = classifier or load_classifier(config.classifier)
    make_views = VIEWS[config.saliency.views]
    shapes = _input_shapes(classifier.preprocessing, make_views)
    num_outputs = _check_inputs(classifier, shapes, device)
    label_map = resolve_label_map(
        _asked_for(config, dataset),
        num_outputs,
        classifier.output_names,
        config.classifier.label_map,
        dataset.label_map,
        dataset.class_names,
        classifier.trained_here,
    )
    usable = label_map.usable()
    if not usable.classes:
        raise UserError(f"None of the classes has an output of {classifier.name}; give `label_map` or another `arch`.")
    precision = getattr(torch, config.compute.precision)
    scorer = make_scorer(classifier.network, usable.outputs_of_class, classifier.activation, device, precision)
    example = torch.randn((1, *shapes[0]), generator=torch.Generator().manual_seed(0)).to(device)
    return Localizer(
        classifier_name=classifier.name,
        scorer=scorer,
        label_map=label_map,
        class_index={name: index for index, name in enumerate(usable.class_names)},
        preprocessing=classifier.preprocessing,
        make_views=make_views,
        method_name=method_name(config.saliency),
        method=bind_method(MethodContext(scorer, example, config.saliency, config.compute.seed)),
        top_k=None if config.data.targets == "labels" else int(config.data.targets.removeprefix("top")),
        segmentation=config.segmentation,
        batch_size=config.compute.batch_size,
        seed=config.compute.seed,
    )


def method_name(settings: SaliencySettings) -> str:
    """Short, for run folders and tables: both names where two methods are combined."""
    if settings.second_method is None:
        return settings.method
    return f"{settings.method}-{'x' if settings.combine == 'product' else 'and'}-{settings.second_method}"


def _check_inputs(classifier: Classifier, shapes: Sequence[tuple[int, int, int]], device: torch.device) -> int:
    """The number of the network's outputs, once it has taken an input of each shape."""
    scorer = make_scorer(classifier.network, [[0]], device=device)
    num_outputs = check_network(scorer, shapes[0])
    for shape in shapes[1:]:
        try:
            check_network(scorer, shape)
        except UserError as error:
            raise UserError(
                f"{classifier.name} takes inputs of one size only; use `resize='squash'`, and no `views='multi-scale'`."
            ) from error
    return num_outputs


def _input_shapes(preprocessing: Preprocessing, make_views: MakeViews) -> list[tuple[int, int, int]]:
    """Channels, height and width of the network inputs that a square image and a wide one become, no shape twice."""
    shapes = []
    for image_hw in ((64, 64), (64, 96)):
        for view in make_views(np.zeros((*image_hw, 3), dtype=np.uint8), preprocessing).views:
            channels, height, width = view.pixels.shape
            shapes.append((channels, height, width))
    return list(dict.fromkeys(shapes))


def choose_device(name: str) -> torch.device:
    """The device that ``device`` names; ``auto`` takes CUDA or MPS where there is one.

    Raises:
        UserError: if it is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available[name]:
        raise UserError(f"`device={name!r}`: there is no such device here; use `device='auto'` or `device='cpu'`.")
    return torch.device(name)


def _asked_for(config: LocalizeConfig, dataset: Dataset) -> tuple[str, ...]:
    """The classes to map: those that label an image, or the choice that the classifier's best come from."""
    if config.data.targets != "labels":
        return tuple(dict.fromkeys(config.data.classes or dataset.class_names))
    labeled = {label for image in dataset.images for label in image.labels}
    ordered = [name for name in dataset.class_names if name in labeled]
    return (*ordered, *sorted(labeled.difference(ordered)))
