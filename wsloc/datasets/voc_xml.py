"""VOC's XML annotations, whose form ImageNet's share."""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from wsloc.datasets.annotations import Annotation, place_annotation
from wsloc.datasets.frames import SizeWh, frame_of, header_of, possible_size
from wsloc.errors import ItemError, one_line
from wsloc.files.reading import decode, read_bytes
from wsloc.records import ImageRecord

Corners = tuple[float, float, float, float]
"""``xmin, ymin, xmax, ymax``."""
Fields = list[tuple[str, Any]]
"""Tags in order, each with its text, its number, or the fields inside it."""

_WITHOUT_MARK = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
"""As XML's appendix F tells them."""
_DECLARED = re.compile(rb"""\s*<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")


def parse_xml(path: Path) -> ElementTree.Element:
    """The root of an annotation, its tags without their namespaces.

    Raises:
        ItemError: if it cannot be read or decoded, is not XML, or declares entities.
    """
    try:
        text = _decoded(read_bytes(path))
    except OSError as error:
        raise ItemError(f"the annotation cannot be read: {error.strerror}") from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ItemError("the annotation declares XML entities, which are not expanded")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ItemError(f"the annotation is not valid XML: {error}") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _decoded(content: bytes) -> str:
    """The text of a file by its byte order mark, else by the encoding that it declares; UTF-8 without either.

    It is decoded here: the parser knows few encodings, and would not see entities that are declared in some of them.
    """
    declared = _DECLARED.match(content)
    codec = declared[1].decode("ascii") if declared else _WITHOUT_MARK.get(content[:2], "utf-8")
    try:
        # Text that was made as UTF-16 and saved in another encoding still declares it.
        if declared and codecs.lookup(codec).name.startswith(("utf-16", "utf-32")):
            codec = "utf-8"
        return decode(content, codec)
    except LookupError as error:
        raise ItemError(f"the annotation declares the unknown encoding {codec!r}; save it as UTF-8") from error
    except ValueError as error:
        raise ItemError(f"the annotation is not written in {codec}: {one_line(error)}") from error


def format_xml(annotation: Fields) -> bytes:
    """An annotation as XML, in UTF-8 and indented with tabs."""
    return ("\n".join(_lines("annotation", annotation, "")) + "\n").encode(errors="xmlcharrefreplace")


def _lines(tag: str, content: Any, indent: str) -> Iterator[str]:
    if not isinstance(content, list):
        yield f"{indent}<{tag}>{escape(content) if isinstance(content, str) else content}</{tag}>"
        return
    yield f"{indent}<{tag}>"
    for name, field in content:
        yield from _lines(name, field, indent + "\t")
    yield f"{indent}</{tag}>"


def annotated_size(root: ElementTree.Element) -> SizeWh | None:
    """Width and height of the image that was annotated; None if the annotation does not tell."""
    try:
        width, height = (int(root.findtext(f".//size/{side}") or 0) for side in ("width", "height"))
    except ValueError:
        return None
    return possible_size(width, height)


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
    # VOC's own have a tag of that name in their source, which holds a text.
    if (count := sum(len(element) > 0 for element in root.iter("annotation"))) > 1:
        raise ItemError(f"the file holds {count} annotations; give one for each image")
    annotated_wh = annotated_size(root)
    header = header_of(image.path, annotated_wh)
    frame = frame_of(annotated_wh, header)
    # Some tools put them into a list of objects, or the whole annotation into something else.
    elements = list(root.iter("object"))
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
