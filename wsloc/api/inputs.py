"""From what users have (images, classes, a network, settings) to what the pipeline takes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from wsloc.classifiers import Classifier, Preprocessing
from wsloc.classifiers.preprocessing import adjusted
from wsloc.config import ClassifierSettings, LocalizeConfig
from wsloc.config_files import make_config
from wsloc.datasets import Dataset
from wsloc.errors import UserError
from wsloc.records import ImageRecord

ImageLike = str | os.PathLike[str] | bytes | NDArray[np.uint8]
"""An image file, its bytes, or the image itself: uint8, gray ``(H, W)``, RGB ``(H, W, 3)`` or RGBA ``(H, W, 4)``."""
Classes = str | Sequence[str] | Sequence[Sequence[str]] | None


def records_of(images: ImageLike | Iterable[ImageLike] | Dataset, classes: Classes) -> tuple[ImageRecord, ...]:
    """Images whose labels are the classes to look for.

    Args:
        images: one, several, or a data set.
        classes: one class or several for every image; or, in a sequence of sequences, those of each image. None for
            the labels of a data set; images without labels get the classifier's best class.

    Raises:
        UserError: if there is no image, or the number of images differs from that of their classes.
    """
    if isinstance(images, Dataset):
        records = images.images
    else:
        single = isinstance(images, str | os.PathLike | bytes) or (isinstance(images, np.ndarray) and images.ndim < 4)
        several: list[ImageLike] = [images] if single else list(images)  # type: ignore[list-item, arg-type]
        records = tuple(_record(index, image) for index, image in enumerate(several))
    if not records:
        raise UserError("There are no images.")
    if classes is None:
        return records
    if isinstance(classes, str):
        return tuple(replace(record, labels=(classes,)) for record in records)
    if all(isinstance(name, str) for name in classes):
        return tuple(replace(record, labels=tuple(map(str, classes))) for record in records)
    if len(classes) != len(records):
        raise UserError(f"There are {len(records)} images, but classes for {len(classes)}; give classes for each.")
    return tuple(replace(record, labels=tuple(own)) for record, own in zip(records, classes, strict=True))


def _record(index: int, image: ImageLike) -> ImageRecord:
    if isinstance(image, bytes | np.ndarray):
        return ImageRecord(f"image {index}", f"image {index}", image)
    path = Path(image)
    return ImageRecord(str(path), str(path), path)


def classifier_in_memory(
    model: object, class_names: Sequence[str] | None, settings: ClassifierSettings
) -> Classifier | None:
    """The network that was passed in, with what is known about it; None for one that is to be loaded.

    Args:
        model: maps float32 ``(N, C, H, W)``, normalized, to logits ``(N, outputs)``; or a name or a file.
        class_names: of its outputs, in their order.
        settings: its input, 224 pixels and ImageNet's normalization by default, and the activation of its outputs.
    """
    if isinstance(model, Classifier) or not isinstance(model, nn.Module):
        return model if isinstance(model, Classifier) else None
    size = settings.input_size or 224
    preprocessing = adjusted(Preprocessing((size, size)), settings.mean, settings.std, None, settings.resize)
    names = None if class_names is None else tuple(class_names)
    return Classifier(model, preprocessing, names, settings.activation or "softmax", type(model).__name__.lower())


def config_of(model: str | os.PathLike[str] | nn.Module | Classifier, settings: dict[str, Any]) -> LocalizeConfig:
    """A configuration from settings by name, and a network by name or file.

    Args:
        model: a name as the setting ``arch`` takes it, the file of a checkpoint that wsloc trained, or a network.
        settings: any of :class:`~wsloc.config.LocalizeConfig`.

    Raises:
        UserError: if there is no such setting, or a value is out of its range.
    """
    config = make_config(LocalizeConfig, settings)
    if isinstance(model, str | os.PathLike):
        is_file = str(model).endswith(".safetensors")
        chosen = {"checkpoint": Path(model)} if is_file else {"arch": str(model)}
        classifier: ClassifierSettings = replace(config.classifier, **chosen)
        return replace(config, classifier=classifier)
    return config
