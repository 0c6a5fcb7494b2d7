"""From images and a network to boxes, or to maps, without a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsloc.api.inputs import Classes, ImageLike, classifier_in_memory, config_of, records_of
from wsloc.api.localizations import Localizations, collect
from wsloc.classifiers import Classifier, check_network, load_classifier, make_scorer
from wsloc.config import SaliencySettings
from wsloc.datasets import Dataset, asked_classes
from wsloc.errors import ItemError, UserError
from wsloc.pipeline import Failed, Runner, localize_images, make_localizer, running
from wsloc.progress import Progress, silent
from wsloc.records import AskedClasses
from wsloc.runs.fitted_refiner import for_refiner
from wsloc.saliency import MethodContext, PairBatch, bind_method
from wsloc.seeding import stable_hash
from wsloc.threads import plan_threads


def localize(
    images: ImageLike | Iterable[ImageLike] | Dataset,
    classes: Classes = None,
    *,
    model: str | os.PathLike[str] | nn.Module | Classifier = "resnet50",
    method: str | None = None,
    segmenter: str | None = None,
    class_names: tuple[str, ...] | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> Localizations:
    """Find a box for each class in each image.

    Args:
        images: one image or several, as paths, bytes or RGB uint8 arrays ``(H, W, 3)``; or a data set.
        classes: one class or several to look for in every image; or, in a sequence of sequences, those of each image.
            None for the labels of a data set, and for the classifier's best class in other images.
        model: name of a network (torchvision's, ``timm:NAME``, ``demo``), file of a checkpoint that wsloc trained, or
            a network in memory.
        method: saliency method, gradient by default.
        segmenter: what turns a map into a mask, GrabCut by default.
        class_names: of a network in memory, the names of its outputs.
        progress: shows the progress over the images.
        settings: any other setting of :class:`wsloc.LocalizeConfig` by its name, such as ``views="mirror"``,
            ``components=3`` or ``input_size=96``.

    Raises:
        UserError: if anything is wrong with the network, the classes or the settings. A bad image is a failure in the
            result, not an exception.
    """
    chosen = {"method": method, "segmenter": segmenter}
    config = config_of(model, {**{name: value for name, value in chosen.items() if value is not None}, **settings})
    records = records_of(images, classes)
    own = classifier_in_memory(model, class_names, config.classifier)
    if not any(record.labels for record in records) and config.data.targets == "labels":
        config = replace(config, data=replace(config.data, targets="top1"))
    if isinstance(images, Dataset) and classes is None:
        asked = asked_classes(config.data, images)
    else:
        asked = AskedClasses(tuple(dict.fromkeys(label for record in records for label in record.labels)))
    localizer = make_localizer(config, asked, own)
    if config.refinement.refiner is not None:
        if not config.refinement.fitted:
            raise UserError(
                "A refiner learns over a whole set: fit it with wsloc.run, then give its file as `refiner`, such as "
                "'RUN/refiner.safetensors'."
            )
        localizer = for_refiner(config.refinement, localizer, len(records))
    plan = plan_threads(localizer.model.scorer.device, config.compute.workers)
    with running(plan, localizer.window) as runner:
        return collect(records, progress(localize_images(localizer, records, runner), "boxes", "image", len(records)))


@overload
def saliency_map(
    model: str | os.PathLike[str] | nn.Module | Classifier,
    image: Tensor,
    target: int | str,
    method: str = ...,
    **settings: Any,
) -> Tensor: ...
@overload
def saliency_map(
    model: str | os.PathLike[str] | nn.Module | Classifier,
    image: ImageLike,
    target: int | str,
    method: str = ...,
    **settings: Any,
) -> NDArray[np.float32]: ...
def saliency_map(
    model: str | os.PathLike[str] | nn.Module | Classifier,
    image: Tensor | ImageLike,
    target: int | str,
    method: str = "gradient",
    **settings: Any,
) -> Tensor | NDArray[np.float32]:
    """The saliency map of a class: where a network sees it.

    Args:
        model: as :func:`localize` takes it; any ``nn.Module`` that gives logits ``(N, outputs)``.
        image: an image as path, bytes or RGB uint8 array ``(H, W, 3)``, which gets the network's preprocessing; or a
            batch of the network's inputs, float ``(N, C, H, W)``, as they are.
        target: the class, by the index of its output or by its name.
        method: saliency method.
        settings: any other setting of :class:`wsloc.LocalizeConfig` by its name.

    Returns:
        Float32 ``(h, w)`` over the whole image; for a batch a tensor ``(N, H, W)``, one map per input. Values are
        >= 0, and only their order and ratios mean anything.

    Raises:
        UserError: if the method does not apply to the network, or the network does not know the class.
        ItemError: if the image cannot be read.
    """
    config = config_of(model, {"method": method, **settings})
    if config.refinement.refiner is not None:
        raise UserError("`refiner` is for wsloc.localize and wsloc.run; a saliency map is that of the network alone.")
    own = classifier_in_memory(model, None, config.classifier)
    if isinstance(image, Tensor):
        asked = own or load_classifier(config.classifier)
        return _maps_of_batch(asked, image, target, config.saliency, config.compute.seed)
    localizer = make_localizer(config, () if isinstance(target, int) else (target,), own)
    known = tuple(localizer.model.class_index)
    if isinstance(target, int) and not 0 <= target < len(known):
        raise UserError(f"The network has no output {target}: it has {len(known)}, counted from 0.")
    (record,) = records_of(image, known[target] if isinstance(target, int) else target)
    (found,) = localizer.compute_maps([record], Runner())
    if isinstance(found, Failed):
        raise ItemError(found.reason)
    (saliency,) = found.maps.values()
    return saliency


def _maps_of_batch(
    classifier: Classifier, batch: Tensor, target: int | str, settings: SaliencySettings, seed: int
) -> Tensor:
    names = classifier.output_names or ()
    if isinstance(target, str) and target not in names:
        raise UserError(f"The network has no output {target!r}; give the index of one.")
    channels, height, width = batch.shape[1:]
    index = names.index(target) if isinstance(target, str) else target
    outputs = check_network(make_scorer(classifier.network, [[0]], device=batch.device), (channels, height, width))
    if not 0 <= index < outputs:
        raise UserError(f"The network has no output {index}: it has {outputs}, counted from 0.")
    scorer = make_scorer(classifier.network, [[index]], classifier.activation, batch.device)
    bound = bind_method(MethodContext(scorer, batch[:1], settings, seed))
    every = torch.arange(len(batch), device=batch.device)
    seeds = tuple(stable_hash(seed, str(number), "") for number in range(len(batch)))
    return bound.compute(PairBatch(batch, every, torch.zeros_like(every), seeds)).maps
