"""Where the images of a run are, and what their classes are called and numbered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from wsloc.config import DataSettings
from wsloc.datasets.opening import open_images
from wsloc.errors import UserError


@dataclass(frozen=True, slots=True)
class Source:
    """The side of a run's data set that an export needs.

    Attributes:
        root: folder that the images lie under.
        class_names: all of the data set; empty where it has none of its own.
        category_ids: its own number of each class; None where it has none, and then no numbers of images either.
    """

    root: Path
    class_names: tuple[str, ...] = ()
    category_ids: tuple[int, ...] | None = None


def open_source(settings: DataSettings, root: Path | None = None) -> Source:
    """The source of a run.

    Args:
        settings: of the run.
        root: folder of the data set, where it has moved.

    Raises:
        UserError: if the data set is not there.
    """
    if settings.images is not None and root is not None:
        # A glob knows no classes, so there is nothing to open.
        if not root.is_dir():
            raise UserError(f"The folder {root} does not exist; --root names the one that holds the images.")
        return Source(root)
    # Which images and classes the run was asked for, its records tell.
    whole = replace(settings, root=root or settings.root, ids=None, boxes=None, masks=None, download=False)
    dataset = open_images(whole)
    return Source(dataset.root, dataset.class_names, dataset.category_ids)
