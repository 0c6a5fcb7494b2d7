"""Features of images by a network that does not change, computed once and kept on the disk.

A file of float32 rows, one for each image and view, in the order of the images; a row of NaN is an image that could not
be read. Rows are appended batch by batch, so a killed process loses one batch, and memory stays flat for any number of
images. The name of the file holds a fingerprint of all that the values depend on.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from wsloc.classifiers.preprocessing import MakeViews
from wsloc.classifiers.weights_hash import weights_hash
from wsloc.errors import ItemError, UserError
from wsloc.files.image_path import file_of
from wsloc.fitting.backbone import Backbone
from wsloc.images import read_image
from wsloc.ordered import ordered_map
from wsloc.progress import Progress, silent
from wsloc.records import ImageRecord
from wsloc.registries import VIEWS


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTask:
    """Which features, and how they are computed.

    Attributes:
        backbone: its network is on ``device``.
        images: N images.
        views: ``whole``, or ``mirror`` for the whole image and its mirror image.
        batch_size: images in a batch.
        device: of the network.
        precision: float32, or the type that autocast uses.
    """

    backbone: Backbone
    images: Sequence[ImageRecord]
    views: str
    batch_size: int
    device: torch.device
    precision: torch.dtype

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, views of an image, features."""
        return len(self.images), 2 if self.views == "mirror" else 1, self.backbone.channels

    def path(self, folder: Path) -> Path:
        """The file in ``folder`` for these features alone: it changes with weights, images and transforms."""
        digest = hashlib.sha256(weights_hash(self.backbone.network).encode())
        how = (*map(str, astuple(self.backbone.preprocessing)), self.views, self.batch_size, self.precision)
        digest.update(repr((how, self.device.type)).encode())
        digest.update(images_hash(self.images).encode())
        return folder / f"{self.backbone.arch.replace(':', '-')}-{digest.hexdigest()[:16]}.f32"


def open_features(path: Path, task: FeatureTask) -> NDArray[np.float32]:
    """The features ``(N, views, C)``, mapped from the finished file, not read into memory."""
    return np.memmap(path, dtype=np.float32, mode="r", shape=task.shape)


def finite_rows(features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which images have features, bool ``(N,)``."""
    # One block at a time: the file may be larger than the memory.
    blocks = (features[start : start + 4096] for start in range(0, len(features), 4096))
    return np.concatenate([np.isfinite(block).all(axis=(1, 2)) for block in blocks])


def compute_features(
    path: Path, task: FeatureTask, pool: Executor | None, progress: Progress = silent, what: str = "features"
) -> None:
    """Compute what the file lacks; nothing if it is complete.

    Args:
        path: of the file.
        task: which features.
        pool: reads the images; None to read them between the batches.
        progress: counts the images.
        what: the work is called.

    Raises:
        UserError: if another process computes the same, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(f"The features {path} are being computed by another process; wait for it.") from error
    except OSError as error:
        raise UserError(f"{path.parent} cannot be written: {error.strerror}; give another `out`.") from error
    with lock:
        if path.exists():
            return
        try:
            _append(path, task, pool, progress, what)
        except OSError as error:
            raise UserError(
                f"{path} cannot be written: {error.strerror}; make room and resume with `resume=True`."
            ) from error


def _append(path: Path, task: FeatureTask, pool: Executor | None, progress: Progress, what: str) -> None:
    partial = path.with_suffix(".partial")
    batch_bytes = 4 * task.batch_size * task.shape[1] * task.shape[2]
    with partial.open("ab") as file:
        # Whole batches only, so that each batch holds the same images as in an uninterrupted run.
        batches = file.tell() // batch_bytes
        file.truncate(batches * batch_bytes)
        left = task.images[batches * task.batch_size :]
        views = ordered_map(pool, lambda image: _read(task, image), left, window=2 * task.batch_size)
        counted = iter(progress(views, what, "image", len(left)))
        while batch := list(itertools.islice(counted, task.batch_size)):
            file.write(_features(task, batch).tobytes())
            file.flush()
            os.fsync(file.fileno())
    partial.replace(path)


def _read(task: FeatureTask, image: ImageRecord) -> Tensor | None:
    """The views of an image ``(V, C, H, W)``, or None if it cannot be read."""
    try:
        make_views: MakeViews = VIEWS[task.views]
        views = make_views(read_image(image.source), task.backbone.preprocessing)
    except ItemError:
        return None
    return torch.stack([view.pixels for view in views.views])


def _features(task: FeatureTask, batch: Sequence[Tensor | None]) -> NDArray[np.float32]:
    """Features ``(B, V, C)``; images of one size go through the network together."""
    rows = np.full((len(batch), *task.shape[1:]), np.nan, dtype=np.float32)
    by_size: dict[tuple[int, ...], list[int]] = {}
    for row, views in enumerate(batch):
        if views is not None:
            by_size.setdefault(tuple(views.shape), []).append(row)
    for own in by_size.values():
        pixels = torch.cat([views for row in own if (views := batch[row]) is not None]).to(task.device)
        with torch.inference_mode(), torch.autocast(
            task.device.type, task.precision, enabled=task.precision != torch.float32
        ):  # fmt: skip
            features = task.backbone.network(pixels)
        rows[own] = features.float().cpu().numpy().reshape(len(own), *task.shape[1:])
    return rows


def images_hash(images: Iterable[ImageRecord]) -> str:
    """A SHA-256 over ids, and size and time of change of the files; what they hold is not read for that."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.image_id}\x1f{_stamp(image.path)}\x1e".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = file_of(path).stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def why_unreadable(image: ImageRecord) -> str:
    """The reason why an image has no features."""
    try:
        read_image(image.path)
    except ItemError as error:
        return str(error)
    return f"{image.path.name} cannot be brought to the network's input, or its features are not finite"
