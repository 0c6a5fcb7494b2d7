"""VOC's XML annotations, whose form ImageNet's share."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wsloc.datasets.annotations import Annotation, place_annotation
from wsloc.datasets.frames import frame_of, header_of
from wsloc.errors import ItemError
from wsloc.files.reading import decode, read_bytes
from wsloc.records import ImageRecord

_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["'](?!utf-?16|utf-?32|ucs)([\w.:-]+)""", re.IGNORECASE)
"""The declared encoding; one of wide characters would not be legible without a byte order mark."""
Corners = tuple[float, float, float, float]
"""``xmin, ymin, xmax, ymax``."""
Fields = list[tuple[str, Any]]
"""Tags in order, each with its text, its number, or the fields inside it."""


def parse_xml(path: Path) -> ElementTree.Element:
    """The root of an annotation.

    Raises:
        ItemError: if it cannot be read, is not XML, or declares entities.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise ItemError(f"the annotation cannot be read: {error.strerror}") from error
    declared = _DECLARED.match(content)
    encoding = declared[1].decode() if declared else "utf-8"
    try:
        text = decode(content, encoding)
    except (ValueError, LookupError) as error:
        raise ItemError(f"the annotation is not written in {encoding.upper()}") from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ItemError("the annotation declares XML entities, which are not expanded")
    try:
        # Its own parser knows few encodings; of text it ignores the declared one.
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ItemError(f"the annotation is not valid XML: {error}") from error


def format_xml(annotation: Fields) -> bytes:
    """An annotation as XML, in UTF-8 and indented with tabs."""
    root = _element("annotation", annotation)
    ElementTree.indent(root, "\t")
    return bytes(ElementTree.tostring(root, encoding="utf-8", short_empty_elements=False) + b"\n")


def _element(tag: str, content: Any) -> ElementTree.Element:
    element = ElementTree.Element(tag)
    if isinstance(content, list):
        element.extend(_element(*field) for field in content)
    else:
        element.text = str(content)
    return element


def annotated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Width and height of the image that was annotated; None if the annotation does not tell."""
    try:
        size = int(root.findtext("size/width") or 0), int(root.findtext("size/height") or 0)
    except ValueError:
        return None
    return size if min(size) > 0 else None


def read_xml(
    path: Path, image: ImageRecord, half_open: Callable[[Corners], Corners], tolerance: float = 0
) -> Annotation:
    """The annotation of an image, its classes as the file names them.

    Args:
        path: of the XML file.
        image: that it annotates.
        half_open: from the corners in the file to a half-open, 0-based box.
        tolerance: by how many pixels a box may reach over the border before a sentence says so.

    Raises:
        ItemError: if it cannot be read.
    """
    root = parse_xml(path)
    annotated_wh = annotated_size(root)
    header = header_of(image.path, annotated_wh)
    frame = frame_of(annotated_wh, header)
    elements = root.findall("object")
    names = [(element.findtext("name") or "").strip() for element in elements]
    given = [half_open(_read_corners(element, name)) for element, name in zip(elements, names, strict=True)]
    difficult = [(element.findtext("difficult") or "0").strip() == "1" for element in elements]
    return place_annotation(image, given, names, header, frame, tolerance, difficult)


def _read_corners(element: ElementTree.Element, name: str) -> Corners:
    try:
        xmin, ymin, xmax, ymax = (
            float(element.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError as error:
        raise ItemError(f"the bndbox of an object {name!r} is missing or holds no numbers") from error
    if not np.isfinite([xmin, ymin, xmax, ymax]).all():
        raise ItemError(f"the bndbox of an object {name!r} holds no finite numbers")
    return xmin, ymin, xmax, ymax
