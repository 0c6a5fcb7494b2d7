"""The elements of VOC's XML annotations, which ImageNet's share."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from wsloc.errors import ItemError


def parse_xml(path: Path) -> ElementTree.Element:
    """The root of an annotation.

    Raises:
        ItemError: if it cannot be read, is no XML, or declares entities.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ItemError(f"the annotation cannot be read: {error.strerror}") from error
    if b"\0" in content:
        # In UTF-16 the declarations below would pass unseen.
        raise ItemError("the annotation is not written in UTF-8")
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ItemError("the annotation declares XML entities, which are not expanded")
    try:
        return ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise ItemError(f"the annotation is not valid XML: {error}") from error


def annotated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Width and height of the image that was annotated; None where the annotation does not tell."""
    try:
        size = int(root.findtext("size/width") or 0), int(root.findtext("size/height") or 0)
    except ValueError:
        return None
    return size if min(size) > 0 else None


def is_difficult(element: ElementTree.Element) -> bool:
    """Whether an object is marked difficult."""
    return (element.findtext("difficult") or "0").strip() == "1"


def read_corners(element: ElementTree.Element, name: str) -> tuple[float, float, float, float]:
    """``xmin``, ``ymin``, ``xmax`` and ``ymax`` of an object as they stand there.

    Raises:
        ItemError: if they are missing or not finite.
    """
    try:
        xmin, ymin, xmax, ymax = (
            float(element.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError as error:
        raise ItemError(f"the bndbox of an object {name!r} is missing or holds no numbers") from error
    if not np.isfinite([xmin, ymin, xmax, ymax]).all():
        raise ItemError(f"the bndbox of an object {name!r} holds no finite numbers")
    return xmin, ymin, xmax, ymax
