"""Saliency maps on disk, ours and those of other tools.

Ours lie in ``maps/IMAGE/CLASS.npy``: the mean over the views over the whole image, not smoothed, NaN where undecided.
The contract of wsolevaluation (Choe et al. 2020) is one ``IMAGE.npy`` an image, 224 x 224 in [0, 1].
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsloc.config import MapKind
from wsloc.datasets import Dataset
from wsloc.datasets.tables import is_there, leaves
from wsloc.errors import ItemError, UserError
from wsloc.evaluation.wsol import score_map
from wsloc.files.atomic import write_atomic
from wsloc.files.names import safe_name, safe_path
from wsloc.pipeline.results import ImageResult

MAPS = "maps"
"""Folder of a run that holds its maps."""


def check_map_kind(kind: MapKind | None, dataset: Dataset) -> None:
    """Refuse what the contract of wsolevaluation cannot hold.

    Raises:
        UserError: if an image has no label, or more than one.
    """
    if kind == "wsol" and any(len(image.labels) != 1 for image in dataset.images):
        raise UserError(
            "`save_maps='wsol'` writes one map an image, so each image must have exactly one label; "
            "take `save_maps='float32'` for this data set."
        )


def save_maps(folder: Path, result: ImageResult, kind: MapKind) -> None:
    """Write the map of each item of an image that has a box.

    Raises:
        UserError: if the disk is full or the folder cannot be written.
    """
    for item in result.items:
        if item.trace is None:
            continue
        path, values = _own(result.image.image_id, item.class_name), item.trace.raw_map
        if kind == "wsol":
            path, values = Path(f"{result.image.image_id}.npy"), score_map(values).astype(np.float32)
        elif kind == "float16":
            # Only the order and the ratios of a map mean anything; gradients would be lost below 6e-8.
            values = (values / np.nanmax(values)).astype(np.float16)
        content = io.BytesIO()
        np.save(content, values, allow_pickle=False)
        write_atomic(folder / path, content.getvalue())


def read_map(folder: Path, image_id: str, class_name: str) -> NDArray[np.float32] | None:
    """The map of an item.

    Args:
        folder: of maps, ``IMAGE/CLASS.npy`` or ``IMAGE.npy``; of an image ``a.jpg`` also ``a/CLASS.npy`` or ``a.npy``.
        image_id: of the data set.
        class_name: likewise.

    Returns:
        Float32 ``(h, w)``, NaN where undecided; None where there is no file.

    Raises:
        ItemError: if the file is no array of two dimensions, or holds an infinite value.
    """
    for path in _candidates(image_id, class_name):
        if not leaves(folder, str(path)) and is_there(folder / path):
            return _load(folder / path)
    return None


def _candidates(image_id: str, class_name: str) -> Iterator[Path]:
    yield _own(image_id, class_name)
    names = dict.fromkeys((image_id, image_id.rpartition(".")[0] or image_id))
    yield from (Path(name, f"{class_name}.npy") for name in names)
    yield from (Path(f"{name}.npy") for name in names)


def _own(image_id: str, class_name: str) -> Path:
    return Path(safe_path(image_id), f"{safe_name(class_name)}.npy")


def _load(path: Path) -> NDArray[np.float32]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ItemError(f"{path.name} is no NumPy array: {error}") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or not values.size or values.dtype.kind not in "fiu":
        raise ItemError(f"{path.name} holds no map of two dimensions")
    if np.isinf(values).any():
        raise ItemError(f"{path.name} holds infinite values")
    return values.astype(np.float32)
