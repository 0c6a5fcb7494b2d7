"""COCO: images and image-level labels of an instances JSON file, and its boxes.

Labels come from the categories of the annotations; an image that shows a class in crowd regions alone is
not labeled with it. Boxes and outlines are looked at by :func:`read_coco_ground_truth` only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from wsloc import boxes
from wsloc.datasets.annotations import Annotation, read_annotations
from wsloc.datasets.coco_json import CocoAnnotation, CocoContent, CocoImage, read_content
from wsloc.datasets.coco_masks import Drawing, Outline, draw_masks, read_outline
from wsloc.datasets.dataset import Dataset, DataSetKind, GroundTruthSet
from wsloc.datasets.frames import Frame, Placed, frame_of, header_of, place_boxes, size_text
from wsloc.datasets.match_files import match_files
from wsloc.datasets.tables import require_folder, strangers
from wsloc.errors import UserError
from wsloc.files.reading import is_there
from wsloc.images import ImageHeader
from wsloc.records import GroundTruth, ImageRecord

BORDER_TOLERANCE = 1.0
"""COCO's boxes reach over the border by parts of a pixel, from rounding; beyond this many pixels it is reported."""


def open_coco(root: Path, split: str, annotations: Path | None = None) -> Dataset:
    """Images and image-level labels of an instances file, in its order; ids are the file's own, as text.

    Args:
        root: folder that contains the images: in ``root/SPLIT``, ``root/images/SPLIT``, ``root/images`` or ``root``.
        split: such as ``val2017``.
        annotations: the instances file; None for ``root/annotations/instances_SPLIT.json``.

    Raises:
        UserError: if the folder, the file or all images are missing, or if the file is malformed.
    """
    path = _annotation_file(root, split, annotations)
    content = read_content(path)
    folder = _image_folder(root, split, content.images, path)
    order = {name: index for index, name in enumerate(content.category_names.values())}
    images = []
    for image in content.images:
        names = {annotation.class_name for annotation in content.annotations[image.image_id] if not annotation.crowd}
        file = folder / _file_in(folder, image.file_name)
        relative = file.relative_to(root).as_posix()
        images.append(ImageRecord(image.image_id, relative, file, tuple(sorted(names, key=order.__getitem__))))
    return Dataset(
        "coco",
        root,
        class_names=tuple(content.category_names.values()),
        images=tuple(images),
        label_map="coco",
        category_ids=tuple(content.category_names),
    )


def read_coco_ground_truth(dataset: Dataset, split: str, annotations: Path | None = None) -> GroundTruthSet:
    """The true boxes, crowd regions and masks of the images of a data set that :func:`open_coco` opened.

    Boxes are cut off at the border and in the frame of the image after EXIF transposition, as
    :func:`wsloc.datasets.frames.frame_of` finds it from the width and height in the file. An image that cannot be
    read keeps its boxes, and the size that the file gives.

    Args:
        dataset: all images of the file, or some of them.
        split: as for :func:`open_coco`.
        annotations: likewise; another file than that of the data set is read as :func:`read_coco_boxes_of` does.

    Raises:
        UserError: if the file is missing or malformed.
    """
    path = _annotation_file(dataset.root, split, annotations)
    content = read_content(path)
    name_of = {image.image_id: Path(image.file_name) for image in content.images}
    named = ((Path(image.file), name_of.get(image.image_id)) for image in dataset.images)
    if all(name is not None and file.parts[-len(name.parts) :] == name.parts for file, name in named):
        return _truth_of(content, dataset.images)
    return _boxes_of(content, path, dataset.images)


def read_coco_boxes_of(dataset: Dataset, annotations: Path) -> GroundTruthSet:
    """The true boxes of any data set in an instances file, such as one that an annotation tool gives back.

    Images are found by their files (:mod:`wsloc.datasets.match_files`), classes by their names. Images that the file
    lacks are not judged. Boxes are in the frame of the image as it is shown, if the size in the file does not tell.

    Raises:
        UserError: if the file is missing or malformed, or has none of the images.
    """
    return _boxes_of(read_content(annotations), annotations, dataset.images)


def _boxes_of(content: CocoContent, path: Path, images: Sequence[ImageRecord]) -> GroundTruthSet:
    matches = match_files((image.file_name for image in content.images), images)
    if not matches.images:
        raise UserError(
            f"None of the {len(content.images)} images of {path} (such as {content.images[0].file_name}) is in the "
            "data set; `annotations` takes a file on the same images."
        )
    lost = [
        *strangers(path, matches.unknown, "images that the data set lacks"),
        *strangers(path, matches.ambiguous, "images that may be several of the data set, and were left out"),
    ]
    own = [image for image in content.images if image.file_name in matches.images]
    id_of = {image.image_id: matches.images[image.file_name].image_id for image in own}
    of_images = replace(
        content,
        images=tuple(replace(image, image_id=id_of[image.image_id]) for image in own),
        annotations={id_of[image.image_id]: content.annotations[image.image_id] for image in own},
        problems=(*content.problems, *(f"{path.name}: {sentence}" for _, sentence in lost)),
    )
    found = frozenset(id_of.values())
    judged = [image for image in images if image.image_id in found]
    return replace(_truth_of(of_images, judged, as_shown=True), partial=True)


def _truth_of(content: CocoContent, images: Sequence[ImageRecord], *, as_shown: bool = False) -> GroundTruthSet:
    sizes = {image.image_id: image.size_wh for image in content.images}
    drawings: dict[str, Drawing] = {}
    without_outline: list[str] = []

    def read(record: ImageRecord) -> Annotation:
        annotated_wh = sizes.get(record.image_id)
        header = header_of(record.path, annotated_wh)
        frame = frame_of(annotated_wh, header, as_shown=as_shown)
        problems = []
        if annotated_wh is not None and annotated_wh not in (header.stored_wh, header.size_wh):
            both = f"{size_text(annotated_wh)} pixels in the annotations, but the image has"
            problems.append(f"{both} {size_text(header.stored_wh)}")
        annotations = content.annotations.get(record.image_id, [])
        found, placed, left_out = _place(annotations, frame)
        kept = {id(annotation) for annotation in found}
        lost = tuple(annotation.class_name for annotation in annotations if id(annotation) not in kept)
        truth = replace(_truth(record.image_id, found, placed, header), lost_class_names=lost)
        frame_wh = annotated_wh or frame.size_wh
        # Drawn when asked for, but read here: nothing else sees all of them.
        outlines = tuple(read_outline(annotation.segmentation, frame_wh) for annotation in found)
        drawings[record.image_id] = Drawing(
            header.is_assumed,
            frame_wh,
            frame.orientation,
            outlines,
            tuple(annotation.crowd for annotation in found),
            placed.boxes_xyxy,
            truth,
        )
        missing, malformed = _faulty_outlines(found, outlines)
        without_outline.extend(f"{record.file}: {sentence}" for sentence in missing)
        return Annotation(truth, frame.is_certain, [*problems, *left_out, *malformed])

    truth = read_annotations(images, read, lambda record: record.file, content.problems)
    if not any(drawing.has_object_outlines for drawing in drawings.values()):
        return truth
    problems = (*truth.problems, *without_outline)
    return replace(truth, problems=problems, read_masks=partial(draw_masks, drawings))


def _faulty_outlines(
    found: Sequence[CocoAnnotation], outlines: Sequence[Outline | None]
) -> tuple[list[str], list[str]]:
    """A sentence for each outline that is missing, and for each that cannot be drawn."""
    missing, malformed = [], []
    for annotation, outline in zip(found, outlines, strict=True):
        if outline is not None:
            continue
        if annotation.segmentation in (None, [], {}):
            missing.append(f"a {annotation.label} has no outline; its box is left undecided in the masks")
        else:
            malformed.append(
                f"the outline of a {annotation.label} is malformed; its box is left undecided in the masks"
            )
    return missing, malformed


def _place(annotations: Sequence[CocoAnnotation], frame: Frame) -> tuple[list[CocoAnnotation], Placed, list[str]]:
    """The annotations that have a box, these boxes, and what had to be left out or fixed."""
    readable, given, sentences = [], [], []
    for annotation in annotations:
        if (box := _numbers(annotation.bbox)) is None:
            sentences.append(f"the bbox of a {annotation.label} is not four finite numbers, and it was left out")
        else:
            readable.append(annotation)
            given.append(box)
    names = [annotation.label for annotation in readable]
    placed = place_boxes(boxes.from_xywh(given), names, frame, BORDER_TOLERANCE)
    return [readable[index] for index in placed.kept], placed, [*sentences, *placed.problems]


def _truth(image_id: str, found: Sequence[CocoAnnotation], placed: Placed, header: ImageHeader) -> GroundTruth:
    crowd = np.array([annotation.crowd for annotation in found], dtype=bool)
    given = [_number(annotation.area) for annotation in found]
    of_boxes = boxes.area(placed.boxes_xyxy).tolist()
    areas = [of_box if area is None or area < 0 else area for area, of_box in zip(given, of_boxes, strict=True)]
    return GroundTruth(
        image_id,
        placed.boxes_xyxy[~crowd],
        tuple(annotation.class_name for annotation in found if not annotation.crowd),
        np.zeros(int((~crowd).sum()), dtype=bool),
        header.size_wh,
        placed.boxes_xyxy[crowd],
        tuple(annotation.class_name for annotation in found if annotation.crowd),
        np.array(areas, dtype=np.float64)[~crowd],
    )


def _annotation_file(root: Path, split: str, annotations: Path | None) -> Path:
    require_folder(root, "COCO's images")
    path = annotations or root / "annotations" / f"instances_{split}.json"
    if path.is_file():
        return path
    if annotations is not None:
        raise UserError(f"The annotations {path} do not exist; `annotations` names an instances JSON file.")
    splits = sorted(other.stem.removeprefix("instances_") for other in path.parent.glob("instances_*.json"))
    has = f"there are the splits {', '.join(splits)}" if splits else "`annotations` names another file"
    raise UserError(f"There is no {path}; {has}.")


def _image_folder(root: Path, split: str, images: Sequence[CocoImage], path: Path) -> Path:
    """The folder that holds the first image that any of them holds: single images may be missing."""
    candidates = [
        folder for folder in (root / split, root / "images" / split, root / "images", root) if folder.is_dir()
    ]
    for image in images:
        for folder in candidates:
            if is_there(folder / _file_in(folder, image.file_name)):
                return folder
    raise UserError(
        f"None of the {len(images)} images of {path} (such as {images[0].file_name}) is in {root}, {root / split} "
        "or its folder images; `root` names the folder of the images."
    )


def _file_in(folder: Path, file_name: str) -> str:
    """Backslashes, which tools on Windows write, as slashes, but where a file has them in its name."""
    if "\\" not in file_name or is_there(folder / file_name):
        return file_name
    return file_name.replace("\\", "/")


def _numbers(bbox: object) -> tuple[float, ...] | None:
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    numbers = tuple(number for value in bbox if (number := _number(value)) is not None)
    return numbers if len(numbers) == 4 else None


def _number(value: object) -> float | None:
    if type(value) not in (int, float):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


COCO = DataSetKind(
    open=lambda root, split, settings: open_coco(root, split, settings.annotations),
    read_truth=lambda dataset, split, settings: read_coco_ground_truth(dataset, split, settings.annotations),
    default_root=Path("data/coco"),
    default_split="val2017",
    train_split="train2017",
    takes=frozenset({"annotations"}),
    # What is wrong with an outline is among the problems of the annotations.
    expects_mask=lambda _dataset, _image: False,
)
