"""The instances JSON file of COCO, and what can be wrong with it.

An error in the file as a whole is a user's error; a faulty annotation is left out and reported. Ids may be numbers or
text. An annotation may lack ``id``, ``iscrowd``, ``area`` and ``segmentation``, as those of annotation tools do.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from wsloc.datasets.frames import SizeWh, possible_size
from wsloc.errors import UserError, one_line


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
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"The annotations {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
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
        if not isinstance(entry, dict) or not _is_int(entry.get("id")) or not _is_name(entry.get("name")):
            raise UserError(f"{path} has a category without a whole-number id and a name: {_shown(entry)}.")
        if names.setdefault(entry["id"], entry["name"]) != entry["name"]:
            raise UserError(f"{path} has two categories of the id {entry['id']}; ids must be unique.")
        groups[entry["id"]] = entry.get("supercategory")
    used = {one["category_id"] for one in annotations if isinstance(one, dict) and _is_int(one.get("category_id"))}

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
        if not isinstance(entry, dict) or not _is_id(entry.get("id")) or not _is_name(entry.get("file_name")):
            raise UserError(f"{path} has an image without an id and a file_name: {_shown(entry)}.")
        image_id, file_name = str(entry["id"]), entry["file_name"]
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
    problems: list[str] = []
    seen: dict[object, dict[str, Any]] = {}
    reused = 0
    for entry in entries:
        if not isinstance(entry, dict):
            problems.append(f"{file_name}: an annotation is not an object but {_shown(entry)}, and was left out")
            continue
        own_id, image_id, category_id = entry.get("id"), entry.get("image_id"), entry.get("category_id")
        shown = f"annotation {own_id}" if _is_id(own_id) else "an annotation without an id"
        if not _is_id(image_id) or str(image_id) not in by_image:
            problems.append(f"{file_name}: {shown} is of an unknown image {_shown(image_id)}, and was left out")
            continue
        if not _is_int(category_id) or category_id not in category_names:
            problems.append(f"{file_name}: {shown} is of an unknown category {_shown(category_id)}, and was left out")
            continue
        if _is_id(own_id) and (other := seen.setdefault(own_id, entry)) is not entry:
            if all(other.get(key) == entry.get(key) for key in ("image_id", "category_id", "bbox")):
                problems.append(f"{file_name}: {shown} occurs twice, and was left out once")
                continue
            reused += 1
        name = category_names[category_id]
        label = f"{name} ({shown})"
        crowd = entry.get("iscrowd") in (1, "1")
        drawn = (entry.get(key) for key in ("bbox", "segmentation", "area"))
        by_image[str(image_id)].append(CocoAnnotation(label, name, crowd, *drawn))
    if reused:
        problems.append(f"{file_name}: {reused} annotations have the id of another one, and were kept")
    return by_image, problems


def _size_of(entry: dict[str, Any]) -> SizeWh | None:
    width, height = entry.get("width"), entry.get("height")
    return possible_size(width, height) if _is_int(width) and _is_int(height) else None


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_id(value: object) -> bool:
    return _is_int(value) or _is_name(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
