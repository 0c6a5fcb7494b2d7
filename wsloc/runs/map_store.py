"""Saliency maps on disk: those of a run, and those of other tools.

A run's maps are in numbered archives, ``maps/NNNNNN.npz``, one per part of the run, each with the entries
``IMAGE/CLASS.npy``: the mean over the views over the whole image, not smoothed, NaN where undecided. ``np.load`` reads
them; unzipped, they are a folder of maps as other tools write it. Features of layers are likewise in ``features/``.
The contract of wsolevaluation (Choe et al. 2020) is one ``IMAGE.npy`` per image, 224 x 224 in [0, 1].
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsloc.config import MapKind
from wsloc.datasets import Dataset
from wsloc.datasets.tables import leaves
from wsloc.errors import ItemError, UserError
from wsloc.evaluation.wsol import score_map
from wsloc.files.atomic import write_atomic
from wsloc.files.names import safe_name, safe_path
from wsloc.files.part_archive import ArchiveReader, ArchiveWriter
from wsloc.files.reading import is_there
from wsloc.pipeline.map_stage import ImageMaps

MAPS = "maps"
"""Folder of a run that holds its maps."""
FEATURES = "features"
"""Folder of the features that a refiner learns from."""


def check_map_kind(kind: MapKind | None, dataset: Dataset) -> None:
    """Refuse what the contract of wsolevaluation cannot hold.

    Raises:
        UserError: if an image has no label, or more than one.
    """
    if kind == "wsol" and any(len(image.labels) != 1 for image in dataset.images):
        raise UserError(
            "`save_maps='wsol'` writes one map per image, so each image must have exactly one label; "
            "use `save_maps='float32'` for this data set."
        )


def add_maps(part: ArchiveWriter, image: ImageMaps, kind: MapKind) -> None:
    """Write the maps of an image, with what else a cut needs."""
    image_id = image.read.image.image_id
    for name, values in image.maps.items():
        fields = {
            "image_id": image_id,
            "class_name": name,
            "probability": image.probabilities[name],
            "rank": image.ranks[name],
        }
        stored: NDArray[Any] = values
        if kind == "float16":
            # Only the order and the ratios of a map mean anything; gradients would be lost below 6e-8.
            peak = np.nanmax(values, initial=0.0)
            stored = (values / peak if 0 < peak < np.inf else values).astype(np.float16)
        part.add(_entry(image_id, name), stored, fields)


def add_features(part: ArchiveWriter, image: ImageMaps) -> None:
    """Write the features of an image."""
    image_id = image.read.image.image_id
    for layer, values in image.features.items():
        part.add(_entry(image_id, layer), values, {"image_id": image_id, "layer": layer})


def write_wsol_maps(folder: Path, image: ImageMaps) -> None:
    """Write the one map of an image as wsolevaluation reads it; none where it has no finite value.

    Raises:
        UserError: if the disk is full or the folder cannot be written.
    """
    for values in image.maps.values():
        if np.isfinite(values).any():
            content = io.BytesIO()
            np.save(content, score_map(values).astype(np.float32), allow_pickle=False)
            write_atomic(folder / f"{image.read.image.image_id}.npy", content.getvalue())


class SavedMaps:
    """The maps in a folder, by image and class: a run's archives, or files of another tool."""

    def __init__(self, folder: Path) -> None:
        """Open a folder of maps.

        Raises:
            UserError: if it does not exist, or an archive is damaged.
        """
        if not folder.is_dir():
            raise UserError(f"There is no folder of maps {folder}; a run with `save_maps='float32'` has one.")
        self.folder = folder
        self._archives = ArchiveReader(folder, ("image_id", "class_name"))
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        """What the archives say about each map, by image and class: ``probability`` and ``rank``."""
        for row in self._archives.rows:
            self.rows.setdefault(row["image_id"], {})[row["class_name"]] = row

    def read(self, image_id: str, class_name: str) -> NDArray[np.float32] | None:
        """The map of an item.

        Args:
            image_id: of the data set; files of an image ``a.jpg`` may be called ``a.jpg`` or ``a``.
            class_name: likewise.

        Returns:
            Float32 ``(h, w)``, NaN where undecided; infinite where the network's answer was; None if there is none.

        Raises:
            ItemError: if it is not an array of two dimensions.
        """
        entry = _entry(image_id, class_name)
        if entry in self._archives:
            return _map_of(self._archives.read(entry), entry)
        for path in _candidates(image_id, class_name):
            if not leaves(self.folder, str(path)) and is_there(self.folder / path):
                return _map_of((self.folder / path).read_bytes(), path.name)
        return None

    def __call__(self, image_id: str, class_name: str) -> NDArray[np.float32] | None:
        """The same for a judge of maps.

        Raises:
            ItemError: also if the map holds an infinite value.
        """
        values = self.read(image_id, class_name)
        if values is not None and np.isinf(values).any():
            raise ItemError(f"the map of {class_name} in {image_id} holds infinite values")
        return values


def read_features(archives: ArchiveReader, image_id: str, layer: str) -> NDArray[np.float16]:
    """Features of a layer, float16 ``(K, h, w)``.

    Raises:
        ItemError: if they are not there, or damaged.
    """
    values: NDArray[np.float16] = _array_of(archives.read(entry := _entry(image_id, layer)), entry)
    return values


def _entry(image_id: str, name: str) -> str:
    return f"{safe_path(image_id)}/{safe_name(name)}.npy"


def _candidates(image_id: str, class_name: str) -> Iterator[Path]:
    yield Path(_entry(image_id, class_name))
    names = dict.fromkeys((image_id, image_id.rpartition(".")[0] or image_id))
    yield from (Path(name, f"{class_name}.npy") for name in names)
    yield from (Path(f"{name}.npy") for name in names)


def _map_of(content: bytes, name: str) -> NDArray[np.float32]:
    values = _array_of(content, name)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "fiu":
        raise ItemError(f"{name} holds no map of two dimensions")
    return values.astype(np.float32)


def _array_of(content: bytes, name: str) -> NDArray[Any]:
    try:
        values = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise ItemError(f"{name} is not a NumPy array: {error}") from error
    if not isinstance(values, np.ndarray):
        raise ItemError(f"{name} holds no map of two dimensions")
    return values
