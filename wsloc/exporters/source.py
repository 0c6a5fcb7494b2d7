"""Where the images of a run are, and what their classes are called and numbered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wsloc.config import DataSettings
from wsloc.config_files import settings_of_run
from wsloc.datasets.registry import open_images
from wsloc.errors import UserError
from wsloc.runs.read_run import read_run_manifest


@dataclass(frozen=True, slots=True)
class Source:
    """The part of a run's data set that an export needs.

    Attributes:
        root: folder that contains the images.
        class_names: all of the data set; empty if it has none of its own.
        category_ids: its own number of each class; None if it has none, and then no numbers of images either.
    """

    root: Path
    class_names: tuple[str, ...] = ()
    category_ids: tuple[int, ...] | None = None


def source_of_run(run: Path, root: Path | None = None) -> Source:
    """The source of a run by its folder; else as :func:`open_source`.

    Raises:
        UserError: also if the folder is no run that can be read.
    """
    return open_source(settings_of_run(run).data, root, read_run_manifest(run))


def open_source(settings: DataSettings, root: Path | None = None, manifest: Mapping[str, Any] | None = None) -> Source:
    """The source of a run.

    The data set is opened only where the manifest does not say what is needed of it, or where it has moved: its lists
    may be larger than all else that an export holds.

    Args:
        settings: of the run.
        root: folder of the data set, where it has moved.
        manifest: of the run.

    Raises:
        UserError: if the data set is not there.
    """
    recorded = _recorded(manifest or {})
    if recorded is not None and root is None and recorded.root.is_dir():
        return recorded
    if settings.images is not None and root is not None:
        # A glob knows no classes, so there is nothing to open.
        if not root.is_dir():
            raise UserError(f"The folder {root} does not exist; `root` names the one that holds the images.")
        return Source(root)
    # Which images and classes the run was asked for, its records tell.
    whole = replace(settings, root=root or settings.root, ids=None, boxes=None, masks=None, download=False)
    dataset = open_images(whole)
    if recorded is not None:
        return replace(recorded, root=dataset.root)
    return Source(dataset.root, dataset.class_names, dataset.category_ids)


def _recorded(manifest: Mapping[str, Any]) -> Source | None:
    """The source as the run wrote it down; None if it did not, as runs of detectors do not."""
    data = manifest.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("root"), str):
        return None
    names, numbers = data.get("class_names"), data.get("category_ids")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    if numbers is None:
        return Source(Path(data["root"]), tuple(names))
    if not isinstance(numbers, list) or len(numbers) != len(names) or any(type(one) is not int for one in numbers):
        return None
    return Source(Path(data["root"]), tuple(names), tuple(numbers))
