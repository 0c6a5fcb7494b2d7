"""The classifier with the saliency method bound to it, loaded on first use."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsloc.classifiers import (
    Classifier,
    LabelMap,
    Preprocessing,
    check_network,
    load_classifier,
    make_scorer,
    resolve_label_map,
)
from wsloc.classifiers.memory_format import in_fast_order
from wsloc.classifiers.preprocessing import MakeViews
from wsloc.classifiers.scorer import Scorer
from wsloc.config import ClassifierSettings, ComputeSettings, SaliencySettings
from wsloc.devices import choose_device
from wsloc.errors import UserError
from wsloc.records import AskedClasses
from wsloc.registries import VIEWS
from wsloc.saliency import BoundMethod, MethodContext, bind_method


@dataclass(frozen=True, slots=True, eq=False)
class BoundModel:
    """A network that computes maps.

    Attributes:
        classifier: the network and what it expects.
        label_map: every class asked for, also those without an output.
        class_index: row of the scorer for each class that has an output.
        scorer: the network's scores of these classes.
        method: the saliency method, bound to the scorer's network.
    """

    classifier: Classifier
    label_map: LabelMap
    class_index: dict[str, int]
    scorer: Scorer
    method: BoundMethod


@dataclass(frozen=True, eq=False)
class Model:
    """What a :class:`BoundModel` is made from; picklable, so that each process loads its own weights.

    Attributes:
        classifier: which network.
        saliency: which method and views.
        compute: device and precision.
        asked: the classes to look for.
        own: a classifier in memory, in place of the one that the settings name.
    """

    classifier: ClassifierSettings
    saliency: SaliencySettings
    compute: ComputeSettings
    asked: AskedClasses
    own: Classifier | None = None

    @cached_property
    def bound(self) -> BoundModel:
        """The network, loaded at the first call.

        Raises:
            UserError: if anything is wrong with the device, the network, its weights or the classes.
        """
        device = choose_device(self.compute.device)
        classifier = self.own or load_classifier(self.classifier)
        shapes = input_shapes(classifier.preprocessing, self.saliency.views)
        num_outputs = _check_inputs(classifier, shapes, device)
        label_map = resolve_label_map(
            self.asked.names,
            num_outputs,
            classifier.output_names,
            self.classifier.label_map,
            self.asked.label_map,
            self.asked.in_order,
            classifier.trained_here,
        )
        usable = label_map.usable()
        if not usable.classes:
            raise UserError(
                f"None of the classes has an output of {classifier.name}; give `label_map` or another `arch`."
            )
        precision = getattr(torch, self.compute.precision)
        scorer = make_scorer(classifier.network, usable.outputs_of_class, classifier.activation, device, precision)
        scorer = in_fast_order(scorer, shapes[0])
        class_index = {name: index for index, name in enumerate(usable.class_names)}
        example = torch.randn((1, *shapes[0]), generator=torch.Generator().manual_seed(0)).to(device)
        method = bind_method(MethodContext(scorer, example, self.saliency, self.compute.seed))
        return BoundModel(classifier, label_map, class_index, scorer, method)

    def with_method(self, saliency: SaliencySettings, example: Tensor) -> Model:
        """The same network, loaded once, with another method.

        Args:
            saliency: which method.
            example: ``(1, C, H, W)`` of the size of the images to come.

        Raises:
            UserError: if the method does not apply to the network.
        """
        scorer = self.bound.scorer
        context = MethodContext(scorer, example.to(scorer.device), saliency, self.compute.seed)
        other = dataclasses.replace(self, saliency=saliency)
        # Where a cached property keeps its value.
        other.__dict__["bound"] = dataclasses.replace(self.bound, method=bind_method(context))
        return other

    def __getstate__(self) -> dict[str, Any]:
        """The settings alone."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def each_method(
    model: Model, methods: Iterable[str], saliency: SaliencySettings, example: Tensor
) -> Iterator[tuple[str, Model | UserError]]:
    """The network with each of some methods, or the sentence that says why a method does not apply to it.

    Args:
        model: loaded once.
        methods: by name.
        saliency: their parameters.
        example: as :meth:`Model.with_method` takes it.
    """
    for name in methods:
        found: Model | UserError
        try:
            found = model.with_method(dataclasses.replace(saliency, method=name), example)
        except UserError as error:
            found = error
        yield name, found


def _check_inputs(classifier: Classifier, shapes: Sequence[tuple[int, int, int]], device: torch.device) -> int:
    """The number of the network's outputs, once it has taken an input of its usual shape and of each other."""
    scorer = make_scorer(classifier.network, [[0]], device=device)
    own = classifier.preprocessing
    usual = (own.channels, *own.input_size_hw)
    num_outputs = check_network(scorer, usual)
    for shape in shapes:
        try:
            if shape != usual:
                check_network(scorer, shape)
        except UserError as error:
            raise UserError(
                f"{classifier.name} takes inputs of one size only; use `resize='squash'` and `views='whole'` or "
                "`views='mirror'`."
            ) from error
    return num_outputs


def input_shapes(preprocessing: Preprocessing, views: str) -> list[tuple[int, int, int]]:
    """Channels, height and width of the network inputs that a square image and a wide one become, no shape twice."""
    make_views: MakeViews = VIEWS[views]
    shapes = []
    for image_hw in ((64, 64), (64, 96)):
        for view in make_views(np.zeros((*image_hw, 3), dtype=np.uint8), preprocessing).views:
            channels, height, width = view.pixels.shape
            shapes.append((channels, height, width))
    return list(dict.fromkeys(shapes))
