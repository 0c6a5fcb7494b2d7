"""From the image-level labels of a data set to what a classifier is trained on, and what is held out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsloc import splitting
from wsloc.datasets import Dataset
from wsloc.errors import UserError, listed
from wsloc.records import ImageRecord

Loss = Literal["bce", "cross-entropy"]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Labeled images.

    Attributes:
        images: N records, in the order of the data set.
        class_names: K classes.
        present: bool ``(N, K)``: whether an image is labeled to show a class.
        left_out: further images, which show none of the classes.
    """

    images: tuple[ImageRecord, ...]
    class_names: tuple[str, ...]
    present: NDArray[np.bool_]
    left_out: int = 0

    @property
    def shows_any(self) -> NDArray[np.bool_]:
        """Whether an image shows one of the classes, bool ``(N,)``."""
        return np.asarray(self.present.any(axis=1))


def make_examples(dataset: Dataset, class_names: Sequence[str] | None = None) -> Examples:
    """All images of a data set, also those that show none of the classes.

    Args:
        dataset: its images and labels are all that is looked at.
        class_names: the classes; None for all that label an image, in the data set's order.
    """
    counts = Counter(label for image in dataset.images for label in image.labels)
    known = [name for name in dataset.class_names if counts[name]]
    names = tuple(class_names) if class_names is not None else (*known, *sorted(counts.keys() - set(known)))
    index = {name: k for k, name in enumerate(names)}
    present = np.zeros((len(dataset.images), len(names)), dtype=bool)
    for row, image in enumerate(dataset.images):
        present[row, [index[label] for label in image.labels if label in index]] = True
    return Examples(dataset.images, names, present)


def for_loss(examples: Examples, loss: Loss) -> Examples:
    """What the loss can make use of: cross-entropy leaves out images that show none of the classes."""
    shows = examples.shows_any
    if loss == "bce" or shows.all():
        return examples
    images = tuple(image for image, kept in zip(examples.images, shows, strict=True) if kept)
    return Examples(images, examples.class_names, examples.present[shows], left_out=int((~shows).sum()))


def check_trainable(examples: Examples, val_fraction: float) -> None:
    """Refuse labels that nothing can be learned from.

    Raises:
        UserError: if there is no label, one class that all images show, or a class with one image, which cannot be
            held out as well.
    """
    if not examples.present.any():
        raise UserError("No image has a label, so there is nothing to learn; give `labels` or another `split`.")
    if len(examples.class_names) == 1 and examples.present.all():
        others = "; add images that show another class."
        if examples.left_out:
            others = f", or with `loss='bce'` the class from the {examples.left_out} images without it."
        raise UserError(
            f"All images show the one class {examples.class_names[0]}, and a classifier learns by telling classes "
            f"apart{others}"
        )
    single = [
        name for name, count in zip(examples.class_names, examples.present.sum(axis=0), strict=True) if count == 1
    ]
    if single and val_fraction > 0:
        raise UserError(
            f"{'The class' if len(single) == 1 else 'The classes'} {listed(single, 5)} "
            f"{'labels' if len(single) == 1 else 'label'} one image only, which cannot be trained on and held out: "
            "label more images, name the other classes with `classes`, or hold out none with `val_fraction=0`."
        )


def choose_loss(examples: Examples, asked: Loss | None) -> Loss:
    """The loss that fits the labels: cross-entropy where every image has exactly one.

    Raises:
        UserError: if the loss asked for is cross-entropy, and an image has several labels.
    """
    several = np.flatnonzero(examples.present.sum(axis=1) > 1)
    if asked == "cross-entropy" and len(several):
        image = examples.images[several[0]]
        raise UserError(
            f"`loss='cross-entropy'` takes one label per image, but {len(several)} have several, {image.image_id} for "
            f"one ({listed(image.labels, 3)}); leave it out, or give `loss='bce'`."
        )
    return asked or ("bce" if len(several) else "cross-entropy")


def hold_out(examples: Examples, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which images are not trained on, as :func:`wsloc.splitting.hold_out` chooses them.

    Args:
        examples: at least two images of each class, unless the fraction is 0.
        fraction: of the images of each class, in [0, 0.5].
        seed: of the run.

    Returns:
        bool ``(N,)``.
    """
    shown = [np.flatnonzero(row).tolist() for row in examples.present]
    return splitting.hold_out([image.image_id for image in examples.images], shown, fraction, seed)
