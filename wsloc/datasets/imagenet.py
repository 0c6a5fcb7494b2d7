"""ImageNet's CLS-LOC (ILSVRC 2012 to 2015): folders and XML annotations as in the archive of Kaggle's challenge.

    LOC_synset_mapping.txt                       n01440764 tench, Tinca tinca
    LOC_val_solution.csv                         ImageId,PredictionString
    ILSVRC/ImageSets/CLS-LOC/{train_cls,val}.txt
    ILSVRC/Data/CLS-LOC/train/n01440764/*.JPEG   val images lie flat
    ILSVRC/Annotations/CLS-LOC/train/n01440764/*.xml

A class is called by its WordNet id and the first of its names, ``n02012849 crane``: two classes are cranes. In the
order of the ids they are the outputs of an ImageNet network.

The XML files are VOC's in form, but 0-based, both corners being pixels of the box. Nothing that comes with them
says so; the numbers do: corners reach 0, and 499 but not 500 in images 500 px wide, also in Kaggle's
LOC_val_solution.csv and, unchanged, in the tables of wsolevaluation (Choe et al. 2020), which include both ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from wsloc.datasets.annotations import Annotation, read_annotations
from wsloc.datasets.dataset import Dataset, DataSetKind, FileProblem, GroundTruthSet
from wsloc.datasets.image_files import find_images
from wsloc.datasets.tables import (
    Rows,
    find_folder,
    one_of,
    read_rows,
    read_table,
    repeated,
    require_inside,
    strangers,
)
from wsloc.datasets.voc_xml import read_xml
from wsloc.errors import UserError
from wsloc.files.reading import is_there
from wsloc.images import IMAGE_SUFFIXES
from wsloc.records import ImageRecord

_CLS_LOC = "CLS-LOC"
_MAPPING = "LOC_synset_mapping.txt"
_SOLUTION = "LOC_val_solution.csv"
Problems = list[FileProblem]


def open_imagenet(root: Path, split: str) -> Dataset:
    """Images and image-level labels of a split.

    The labels of train are the names of its folders. Those of val come from ``LOC_val_solution.csv``, of which nothing
    but the WordNet id is read; without it from sub-folders named by WordNet ids; without them from a list of
    images and numbers, ``val.txt`` beside ILSVRC or in ``ImageSets/CLS-LOC``, a number being a row of
    ``LOC_synset_mapping.txt`` from 0. The archive's own ``val.txt`` numbers its lines and is not taken for such a list.

    Args:
        root: folder that holds ``ILSVRC``, or that folder itself.
        split: ``val`` or ``train``.

    Raises:
        UserError: if the folder, the split, its images or its labels are missing or malformed.
    """
    if split not in ("val", "train"):
        raise UserError(f"imagenet has the splits val and train with labels, not {split!r}.")
    # Absolute, so that --root . inside ILSVRC has a parent to look for the lists in.
    root = root.absolute() if root == Path() else root
    folder = find_folder(root, ["ILSVRC"], f"Data/{_CLS_LOC}")
    data = folder / "Data" / _CLS_LOC / split
    if not data.is_dir():
        raise UserError(f"There is no folder {data}; unpack the images of {split} there, or choose another `split`.")
    names = _class_names(folder)
    listed_ids, problems = _listed_ids(folder, split)
    files = {} if listed_ids and split == "train" else _image_files(data)
    ids = listed_ids or sorted(files)
    if split == "train":
        wnid_of = {image_id: image_id.partition("/")[0] for image_id in ids}
    else:
        wnid_of, more = _val_labels(folder, files, names)
        ids = listed_ids or sorted({*files, *wnid_of})
        problems += more
        solution = _beside(folder, _SOLUTION) or data
        problems += strangers(solution, (name for name in ids if name not in wnid_of), "images without a label")
        problems += strangers(solution, sorted(wnid_of.keys() - set(ids)), "labels without an image in the list")
    classes = {wnid: names.get(wnid, wnid) for wnid in sorted({*names, *wnid_of.values()})}
    if names:
        unknown = [wnid for wnid in classes if wnid not in names]
        problems += strangers(_beside(folder, _MAPPING) or folder, unknown, "classes that it lacks")
    images = tuple(_record(folder, data, image_id, files, classes, wnid_of) for image_id in ids)
    if not images:
        raise UserError(f"{data} holds no image and no list names one; unpack the images of {split} there.")
    return Dataset(
        "imagenet", folder.parent, tuple(classes.values()), images, label_map="imagenet", problems=tuple(problems)
    )


def annotation_of(dataset: Dataset, image: ImageRecord) -> Path:
    """Where the XML file of an image lies, whether it is there or not."""
    ilsvrc, _, cls_loc, split, *rest = PurePosixPath(image.file).parts
    folder = dataset.root / ilsvrc / "Annotations" / cls_loc / split
    nested = folder.joinpath(*rest).with_suffix(".xml")
    # Users who sort the images of val into folders seldom sort the annotations, too.
    return folder / nested.name if split == "val" and not is_there(nested) else nested


def read_imagenet_ground_truth(dataset: Dataset) -> GroundTruthSet:
    """The true boxes of the images of a data set that :func:`open_imagenet` opened.

    Images without an XML file, as most of train are, have no truth and are no problem. Boxes turn with images that have
    an EXIF orientation as VOC's do.
    """
    names = {name.partition(" ")[0]: name for name in dataset.class_names}
    paths = {image.image_id: annotation_of(dataset, image) for image in dataset.images}
    truth = read_annotations(
        (image for image in dataset.images if is_there(paths[image.image_id])),
        lambda image: _read_annotation(paths[image.image_id], image, names),
        lambda image: paths[image.image_id].name,
    )
    return replace(truth, partial=True)


def _read_annotation(path: Path, image: ImageRecord, class_names: dict[str, str]) -> Annotation:
    found = read_xml(path, image, lambda corners: (*corners[:2], corners[2] + 1, corners[3] + 1), tolerance=1)
    names = tuple(class_names.get(wnid, wnid) for wnid in found.truth.class_names)
    # Its challenge knows no difficult objects.
    truth = replace(found.truth, class_names=names, difficult=np.zeros(len(names), dtype=bool))
    return replace(found, truth=truth)


def _beside(folder: Path, name: str) -> Path | None:
    """A list beside ILSVRC, where the archive has it, or inside."""
    return one_of(folder.parent, [name]) or one_of(folder, [name])


def _class_names(folder: Path) -> dict[str, str]:
    """Name of each class by its WordNet id; empty if there is no mapping."""
    path = _beside(folder, _MAPPING)
    if path is None:
        return {}
    names = {}
    for wnid, called in read_table(path, 2, "n01440764 tench, Tinca tinca", max_columns=2):
        names[wnid] = f"{wnid} {called.partition(',')[0].strip()}"
    return names


def _listed_ids(folder: Path, split: str) -> tuple[list[str], Problems]:
    """Ids of the images that the list of the split names, without file suffix; none where there is no list."""
    path = folder / "ImageSets" / _CLS_LOC / ("train_cls.txt" if split == "train" else "val.txt")
    if not path.is_file():
        return [], []
    ids = [_without_suffix(row[0]) for row in read_rows(path)]
    require_inside(path, folder, ids)
    return list(dict.fromkeys(ids)), repeated(path, ids)


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name


def _image_files(data: Path) -> dict[str, str]:
    """Below the folder of a split, the file of each image by its id."""
    files = find_images(data)
    files.say_others(data)
    found = (path.relative_to(data) for path in files.images)
    if data.name == "train":
        return {file.with_suffix("").as_posix(): file.as_posix() for file in found}
    return {file.stem: file.as_posix() for file in found}


def _record(
    folder: Path, data: Path, image_id: str, files: dict[str, str], classes: dict[str, str], wnid_of: dict[str, str]
) -> ImageRecord:
    path = data / files.get(image_id, f"{image_id}.JPEG")
    labels = (classes[wnid_of[image_id]],) if image_id in wnid_of else ()
    return ImageRecord(image_id, path.relative_to(folder.parent).as_posix(), path, labels)


def _val_labels(folder: Path, files: dict[str, str], names: dict[str, str]) -> tuple[dict[str, str], Problems]:
    """WordNet id of each image of val, from the first source that is there."""
    solution = _beside(folder, _SOLUTION)
    if solution is not None:
        rows = [row for row in read_rows(solution, ",", 2) if row[0] != "ImageId"]
        if bad := [row for row in rows if len(row) != 2 or not row[1]]:
            raise UserError(f"{solution} must hold rows 'ImageId,WORDNET-ID ...', not {','.join(bad[0])!r}.")
        return {row[0]: row[1].split()[0] for row in rows}, repeated(solution, (row[0] for row in rows))
    nested = {image_id: PurePosixPath(file).parts[0] for image_id, file in files.items() if "/" in file}
    if nested:
        return nested, []
    candidates = [folder.parent / "val.txt", folder / "val.txt", folder / "ImageSets" / _CLS_LOC / "val.txt"]
    for path in candidates:
        rows = read_rows(path) if path.is_file() else []
        if rows and not _only_numbers_its_lines(rows):
            return _labels_of_list(path, rows, sorted(names)), repeated(path, (row[0] for row in rows))
    raise UserError(
        f"The images of val have no labels: there is no {_SOLUTION} next to {folder}, no sub-folder named by a WordNet "
        "id, and no val.txt with rows 'ILSVRC2012_val_00000001.JPEG 65'; add one of them."
    )


def _only_numbers_its_lines(rows: Iterable[list[str]]) -> bool:
    return all(len(row) == 1 or row[1] == str(number) for number, row in enumerate(rows, start=1))


def _labels_of_list(path: Path, rows: Rows, wnids: list[str]) -> dict[str, str]:
    if not wnids:
        raise UserError(
            f"{path} labels images by numbers, but there is no {_MAPPING} next to ILSVRC to look them up in."
        )
    labels = {}
    for row in rows:
        if len(row) != 2 or not row[1].isdigit() or int(row[1]) >= len(wnids):
            raise UserError(
                f"{path} must hold rows 'ILSVRC2012_val_00000001.JPEG 65' with numbers from 0 to {len(wnids) - 1}, "
                f"not {' '.join(row)!r}."
            )
        labels[_without_suffix(row[0])] = wnids[int(row[1])]
    return labels


def _xml_file(dataset: Dataset, split: str, image: ImageRecord) -> Path | None:
    path = annotation_of(dataset, image)
    # Most images of train have no boxes.
    return None if split == "train" and not is_there(path) else path


IMAGENET = DataSetKind(
    open=lambda root, split, _settings: open_imagenet(root, split),
    read_truth=lambda dataset, _split, _settings: read_imagenet_ground_truth(dataset),
    default_split="val",
    train_split="train",
    xml_file=_xml_file,
)
