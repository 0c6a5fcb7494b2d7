"""WebDataset: tars ("shards") of samples, whose images are read from where they lie in the tar.

    train-0000.tar    n01440764_18.jpg  n01440764_18.cls
                      sub/7.png         sub/7.json

The files of a sample have one name up to its first dot, in one folder, wherever they are in the tar. Of several images
in a sample the one counts whose suffix is all that follows that dot: ``7.png``, not ``7.mask.png``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from wsloc.config import DataSettings
from wsloc.datasets.dataset import Dataset, DataSetKind, FileProblem, GroundTruthSet
from wsloc.datasets.image_files import is_hidden
from wsloc.datasets.own_images import label_map_of
from wsloc.datasets.own_truth import read_folder_ground_truth
from wsloc.datasets.sample_labels import LABELS, SampleLabels
from wsloc.datasets.tables import one_of, strangers
from wsloc.datasets.webdataset_shards import find_shards
from wsloc.errors import ItemError, UserError, counted
from wsloc.files.image_path import ImagePath, image_path
from wsloc.files.reading import read_lines
from wsloc.files.tar_index import TarIndex, index_tar
from wsloc.images import IMAGE_SUFFIXES
from wsloc.records import ImageRecord

_NAMES = "classnames.txt"
"""As the data sets of the CLIP benchmark have it."""
_UNLABELED = "samples without a label"


def open_webdataset(root: Path, split: str, names_file: Path | None = None, label_field: str | None = None) -> Dataset:
    """The images of all shards with their labels, in the order of the shards' names and of each tar.

    An image is called by its shard and its name in it: ``train-0000.tar/n01440764_18.jpg``.

    Args:
        root: a folder of shards, a shard, or a pattern; see :func:`wsloc.datasets.webdataset_shards.find_shards`.
        split: a word in the names of the shards to take; empty for all.
        names_file: names of the classes, one per line; None for ``classnames.txt`` beside the shards, if there is one.
        label_field: the field of ``.json`` that has the label; see :class:`wsloc.datasets.sample_labels.SampleLabels`.

    Raises:
        UserError: if there is no shard, or no image in them, or the names cannot be read.
    """
    folder, shards = find_shards(root, split)
    names = _read_names(names_file or one_of(folder, [_NAMES]))
    labels = SampleLabels(names, label_field)
    images: list[ImageRecord] = []
    problems: list[FileProblem] = []
    for path in shards:
        index = index_tar(path)
        problems += [(path, index.damage)] if index.damage else []
        problems += strangers(path, index.outside, "names that lead out of it")
        problems += strangers(path, index.special, "links, devices, or files with holes")
        problems += strangers(path, index.twice, "names of several files, of which the first counts")
        found, faults = _read_samples(folder, path, index, labels)
        images += found
        problems += [problem for fault, keys in faults.items() for problem in strangers(path, keys, fault)]
    if not images:
        why = f": {problems[0][0].name} {problems[0][1]}" if problems else ""
        raise UserError(f"There is no image in the {counted(len(shards), 'tar')} of {root}{why}.")
    found_names = {label for image in images for label in image.labels}
    if not found_names:
        problems = [problem for problem in problems if not problem[1].startswith(_UNLABELED)]
    class_names = (*names, *sorted(found_names.difference(names)))
    label_map = label_map_of(class_names) or ("in-order" if names else None)
    return Dataset("webdataset", folder, class_names, tuple(images), label_map, problems=tuple(problems))


def _read_names(path: Path | None) -> tuple[str, ...]:
    names = read_lines(path, "The class names") if path else []
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise UserError(f"{path} names the class {twice!r} twice; give each its own name.")
    return tuple(names)


def _read_samples(
    folder: Path, shard: Path, index: TarIndex, labels: SampleLabels
) -> tuple[list[ImageRecord], dict[str, list[str]]]:
    """The images of a shard, and the samples that something is wrong with, by what it is."""
    images: list[ImageRecord] = []
    faults: defaultdict[str, list[str]] = defaultdict(list)
    called = shard.relative_to(folder).as_posix()
    for key, files in _samples(index.spans).items():
        pictures = [suffix for suffix in files if f".{suffix.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES]
        own = [suffix for suffix in pictures if "." not in suffix] or pictures
        if not own:
            faults["samples without an image"].append(key)
            continue
        if own[1:]:
            faults["samples of several images, of which the first counts"].append(key)
        classes: tuple[str, ...] = ()
        try:
            found = {suffix.lower(): files[suffix] for suffix in files if suffix.lower() in LABELS}
            classes = labels.read({suffix: _path(shard, index, name) for suffix, name in found.items()})
        except ItemError as error:
            faults["samples whose label cannot be read"].append(f"{key} {error}")
        else:
            if not classes:
                faults[_UNLABELED].append(key)
        file = f"{called}/{files[own[0]]}"
        images.append(ImageRecord(file, file, _path(shard, index, files[own[0]]), classes))
    return images, faults


def _path(shard: Path, index: TarIndex, name: str) -> ImagePath:
    return image_path(f"{shard}/{name}", index.spans[name])


def _samples(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The names of the files of each sample, by what follows their first dot."""
    samples: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        inside, slash, base = name.rpartition("/")
        key, _, suffix = base.partition(".")
        if suffix and not any(map(is_hidden, name.split("/"))):
            samples[inside + slash + key][suffix] = name
    return samples


def _open(root: Path, split: str, settings: DataSettings) -> Dataset:
    return open_webdataset(root, split, settings.labels, settings.label_column)


def _read_truth(dataset: Dataset, split: str, settings: DataSettings) -> GroundTruthSet | None:
    if settings.root is None or (settings.boxes is None and settings.masks is None):
        return None
    labeled = _open(settings.root, split, settings)
    is_trimap = settings.mask_values == "trimap"
    return read_folder_ground_truth(dataset, labeled, settings.boxes, settings.masks, trimap=is_trimap)


WEBDATASET = DataSetKind(
    open=_open,
    read_truth=_read_truth,
    default_root=None,
    takes=frozenset({"labels", "label_column", "boxes", "masks"}),
)
