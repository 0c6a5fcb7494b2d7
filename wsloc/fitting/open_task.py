"""From settings to a training that can begin: all that can be wrong is found before the first image is read."""

from __future__ import annotations

from dataclasses import replace

from wsloc.config import DataSettings
from wsloc.datasets.registry import chosen_labels, kind_of, open_images
from wsloc.devices import choose_device
from wsloc.errors import UserError, listed
from wsloc.fitting.backbone import open_backbone
from wsloc.fitting.examples import (
    Examples,
    check_trainable,
    choose_loss,
    for_loss,
    hold_out,
    make_examples,
)
from wsloc.fitting.fitting_settings import FittingSettings, TrainingCompute
from wsloc.fitting.task import ClassifierTask


def with_training_split(data: DataSettings) -> DataSettings:
    """The settings with the split to train on, where they name none and the data set has splits."""
    kind = kind_of(data)
    return replace(data, split=data.split or (kind.train_split if kind else None))


def of_test_split(data: DataSettings, test_split: str) -> DataSettings:
    """The settings of the images to test on: all of another split of the same data set."""
    return replace(data, split=test_split, ids=None, limit=None, download=False)


def open_task(
    data: DataSettings, test_split: str | None, fitting: FittingSettings, compute: TrainingCompute
) -> ClassifierTask:
    """Open images and labels, choose the loss and the held-out images, and build the network.

    All images of the split are taken, and those that show none of the classes are negatives; with cross-entropy, which
    has no use for them, they are left out. ``ids`` comes first, ``limit`` last. True boxes are not opened.

    Raises:
        UserError: if data set, network or weights are missing, the labels teach nothing, or the test images
            tell nothing.
    """
    device = choose_device(compute.device)
    if compute.precision == "float16" and device.type != "cuda":
        raise UserError("`precision='float16'` trains on CUDA only; use bfloat16 or float32 here.")
    data = with_training_split(data)
    dataset = chosen_labels(open_images(data), data.classes)
    examples = make_examples(dataset)
    loss = choose_loss(examples, fitting.loss)
    examples = for_loss(examples, loss)
    if data.limit is not None:
        first = make_examples(replace(dataset, images=examples.images[: data.limit]))
        examples = replace(first, left_out=examples.left_out)
    check_trainable(examples, fitting.val_fraction)
    test = None
    if test_split is not None:
        of_test = make_examples(open_images(of_test_split(data, test_split)), examples.class_names)
        test = for_loss(of_test, loss)
        _check_test(test, test_split, examples, data.split)
    backbone = open_backbone(fitting, compute.seed)
    backbone.network.to(device)
    held_out = hold_out(examples, fitting.val_fraction, compute.seed)
    return ClassifierTask(fitting, compute, backbone, examples, held_out, loss, device, test)


def _check_test(test: Examples, test_split: str, training: Examples, split: str | None) -> None:
    if not test.present.any():
        raise UserError(
            f"None of the {len(test.images) + test.left_out} images of `test_split={test_split!r}` shows a class that "
            f"is trained ({listed(training.class_names, 5)}); give another `test_split`, or leave it out."
        )
    known = {image.path.resolve() for image in training.images}
    if shared := sum(image.path.resolve() in known for image in test.images):
        raise UserError(
            f"{shared} of the {len(test.images)} images of `test_split={test_split!r}` are also trained on "
            f"(`split={split!r}`), so the test would say nothing; give splits without common images."
        )
