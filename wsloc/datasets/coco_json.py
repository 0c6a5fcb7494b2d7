"""The instances JSON file of COCO, and what can be wrong with it.

An error in the file as a whole is a user's error; a faulty annotation is left out and reported. Ids may be numbers,
also written with a fraction of zero or as text, or other text. An annotation may lack ``id``, ``iscrowd``, ``area`` and
``segmentation``, as those of annotation tools do.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsloc.datasets.frames import SizeWh, possible_size
from wsloc.errors import UserError, one_line
from wsloc.files.documents import parse_json
from wsloc.files.names import is_text
from wsloc.files.reading import read_bytes


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image of the file.

    Attributes:
        image_id: the file's own, as text.
        file_name: relative to the folder of the images; it does not leave it.
        size_wh: width and height in the file; None if it has none.
    """

    image_id: str
    file_name: str
    size_wh: SizeWh | None


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """An annotation of a known image and category.

    Attributes:
        label: its name in messages.
        class_name: name of its category.
        crowd: whether it is a region of many objects.
        bbox: as the file has it, unchecked: labels do not need it.
        segmentation: likewise.
        area: likewise.
    """

    label: str
    class_name: str
    crowd: bool
    bbox: object
    segmentation: object
    area: object


@dataclass(frozen=True, slots=True)
class CocoContent:
    """What an instances file holds.

    Attributes:
        category_names: by id, ascending; of several ids of one name the lowest that is used.
        images: in the file's order.
        annotations: of each image, by its id, in the file's order.
        problems: one sentence for each annotation that was left out.
    """

    category_names: dict[int, str]
    images: tuple[CocoImage, ...]
    annotations: dict[str, list[CocoAnnotation]]
    problems: tuple[str, ...]


def read_content(path: Path) -> CocoContent:
    """Everything in an instances file but licenses and the like.

    Raises:
        UserError: if it cannot be read, is not an instances file, has an image or a category without id or name, an id
            twice, or a file name that leaves the folder.
    """
    try:
        document = parse_json(read_bytes(path))
    except OSError as error:
        raise UserError(f"The annotations {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"The annotations {path} are not valid JSON: {one_line(error)}.") from error
    if not isinstance(document, dict):
        raise UserError(
            f"{path} is not an instances file but a {type(document).__name__}; give one with images and annotations."
        )
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            raise UserError(f"{path} has no list {key!r}; an instances file has images, annotations and categories.")
    category_names = _categories(document["categories"], document["annotations"], path)
    images = _images(document["images"], path)
    annotations, problems = _annotations(document["annotations"], category_names, images, path.name)
    if document["annotations"] and not any(annotations.values()):
        count, first = len(document["annotations"]), problems[0].partition(": ")[2]
        raise UserError(f"None of the {count} annotations of {path} has a known image and category: {first}.")
    # By name, the first id of each.
    unique = {name: key for key, name in reversed(category_names.items())}
    names = {key: name for name, key in sorted(unique.items(), key=lambda item: item[1])}
    return CocoContent(names, images, annotations, tuple(problems))


def _categories(entries: list[Any], annotations: list[Any], path: Path) -> dict[int, str]:
    """Names by id, those of annotations first, then ascending; some ids may have one name.

    Without a category that only groups others, as Roboflow puts one before the classes: no annotation is of it, it
    belongs to none, and another belongs to it.
    """
    names: dict[int, str] = {}
    groups: dict[int, object] = {}
    for entry in entries:
        number = _whole(entry.get("id")) if isinstance(entry, dict) else None
        if number is None or not _is_name(entry.get("name")):
            raise UserError(f"{path} has a category without a whole-number id and a name: {_shown(entry)}.")
        if names.setdefault(number, entry["name"]) != entry["name"]:
            raise UserError(f"{path} has two categories of the id {number}; ids must be unique.")
        groups[number] = entry.get("supercategory")
    used = {_whole(one.get("category_id")) for one in annotations if isinstance(one, dict)}

    def is_group(key: int) -> bool:
        if key in used or groups[key] not in (None, "", "none", names[key]):
            return False
        return any(group == names[key] for other, group in groups.items() if other != key)

    names = {key: names[key] for key in sorted(names, key=lambda key: (key not in used, key)) if not is_group(key)}
    if not names:
        raise UserError(f"{path} has no category; an instances file names its classes there.")
    return names


def _images(entries: list[Any], path: Path) -> tuple[CocoImage, ...]:
    images: dict[str, CocoImage] = {}
    for entry in entries:
        image_id = _id_of(entry.get("id")) if isinstance(entry, dict) else None
        if image_id is None or not _is_name(entry.get("file_name")):
            raise UserError(f"{path} has an image without an id and a file_name: {_shown(entry)}.")
        file_name = entry["file_name"]
        if re.match(r"[/\\]|[A-Za-z]:", file_name) or ".." in re.split(r"[/\\]", file_name):
            raise UserError(f"{path} names {file_name!r}, which is outside the data set.")
        if image_id in images:
            raise UserError(f"{path} has two images of the id {image_id}; ids must be unique.")
        images[image_id] = CocoImage(image_id, file_name, _size_of(entry))
    if not images:
        raise UserError(f"{path} has no image; an instances file lists them.")
    return tuple(images.values())


def _annotations(
    entries: list[Any], category_names: dict[int, str], images: tuple[CocoImage, ...], file_name: str
) -> tuple[dict[str, list[CocoAnnotation]], list[str]]:
    by_image: dict[str, list[CocoAnnotation]] = {image.image_id: [] for image in images}
    by_number = {_whole(image_id): image_id for image_id in by_image if _whole(image_id) is not None}
    problems: list[str] = []
    seen: dict[object, dict[str, Any]] = {}
    reused = 0
    for entry in entries:
        if not isinstance(entry, dict):
            problems.append(f"{file_name}: an annotation is not an object but {_shown(entry)}, and was left out")
            continue
        own_id, image_id, category_id = _id_of(entry.get("id")), _id_of(entry.get("image_id")), entry.get("category_id")
        shown = f"annotation {own_id}" if own_id is not None else "an annotation without an id"
        if image_id not in by_image:
            image_id = by_number.get(_whole(image_id))
        if image_id is None:
            unknown = _shown(entry.get("image_id"))
            problems.append(f"{file_name}: {shown} is of an unknown image {unknown}, and was left out")
            continue
        if (number := _whole(category_id)) not in category_names:
            problems.append(f"{file_name}: {shown} is of an unknown category {_shown(category_id)}, and was left out")
            continue
        if own_id is not None and (other := seen.setdefault(own_id, entry)) is not entry:
            if all(other.get(key) == entry.get(key) for key in ("image_id", "category_id", "bbox")):
                problems.append(f"{file_name}: {shown} occurs twice, and was left out once")
                continue
            reused += 1
        name = category_names[number]
        label = f"{name} ({shown})"
        crowd = entry.get("iscrowd") in (1, "1")
        drawn = (entry.get(key) for key in ("bbox", "segmentation", "area"))
        by_image[image_id].append(CocoAnnotation(label, name, crowd, *drawn))
    if reused:
        problems.append(f"{file_name}: {reused} annotations have the id of another one, and were kept")
    return by_image, problems


def _size_of(entry: dict[str, Any]) -> SizeWh | None:
    return possible_size(_whole(entry.get("width")) or 0, _whole(entry.get("height")) or 0)


def _whole(value: object) -> int | None:
    """A whole number, however it is written: ``7``, ``7.0``, ``"7"`` or ``"7.0"``."""
    if isinstance(value, str):
        return int(value.partition(".")[0]) if re.fullmatch(r"-?(0|[1-9]\d{0,17})(\.0+)?", value) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _id_of(value: object) -> str | None:
    """An id as text; None for what is none. Text stays as it is, for 007 is not 7."""
    if isinstance(value, str):
        return value if value.strip() else None
    number = _whole(value)
    return None if number is None else str(number)


def _is_name(value: object) -> bool:
    return is_text(value) and value.strip() != ""


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
