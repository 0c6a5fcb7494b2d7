"""Runs made in memory, with boxes and truth by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from wsloc.datasets import GroundTruthSet
from wsloc.evaluation.summary import judge_with_baselines
from wsloc.judging.judged_run import JudgedRun
from wsloc.records import BoxRecord, Failure, GroundTruth, Localization
from wsloc.runs.read_run import RunContents

SIZE_WH = (100, 80)
Box = tuple[float, float, float, float]


def found(image_id: str, class_name: str, box_xyxy: Box, **more: Any) -> Localization:
    fields: dict[str, Any] = {
        "file": f"{image_id}.jpg",
        "probability": 0.5,
        "quality": 0.5,
        "area_fraction": 0.1,
        "method": "gradient",
        "segmenter": "grabcut",
        "fallback": None,
        "component": 0,
        "size_wh": SIZE_WH,
    }
    return Localization(image_id=image_id, class_name=class_name, box_xyxy=box_xyxy, **(fields | more))


def true_of(image_id: str, boxes: Mapping[str, Sequence[Box]], difficult: bool = False) -> GroundTruth:
    names = tuple(name for name, of_class in boxes.items() for _ in of_class)
    every = [box for of_class in boxes.values() for box in of_class]
    flags = np.full(len(names), difficult)
    return GroundTruth(image_id, np.array(every, dtype=np.float64).reshape(-1, 4), names, flags, SIZE_WH)


def judged_run(
    localizations: Sequence[BoxRecord],
    truth: Sequence[GroundTruth] | None,
    failures: Sequence[Failure] = (),
    path: Path = Path("runs/made"),
    *,
    complete: bool = True,
    manifest: Mapping[str, Any] | None = None,
    problems: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> JudgedRun:
    contents = RunContents(path, dict(manifest or {}), tuple(localizations), tuple(failures), complete, notes)
    if truth is None:
        return JudgedRun(contents, None, None, "No ground truth, so no metrics.")
    images = {image.image_id: image for image in truth}
    return JudgedRun(contents, GroundTruthSet(images, problems), judge_with_baselines(localizations, images))


def hand_run() -> JudgedRun:
    """Four items: one found to the pixel, one with a box four times too large, one failed, one without a record."""
    box = (10.0, 10.0, 50.0, 40.0)
    return judged_run(
        [
            found("a", "cat", box, probability=0.9, quality=0.8),
            found("b", "cat", (10.0, 10.0, 90.0, 70.0), probability=0.2, quality=0.9, fallback="seeds"),
        ],
        [true_of(name, {"cat": [box]}) for name in "ab"] + [true_of(name, {"dog": [box]}) for name in "cd"],
        [Failure("c", "c.jpg", "dog", "read", "c.jpg cannot be decoded: it is cut off")],
    )


class Page(HTMLParser):
    """The elements of a page, in order, each with its attributes and the text right inside it and its descendants."""

    _EMPTY = frozenset({"meta", "link", "input", "path", "line", "fecolormatrix", "br", "rect", "image"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[int] = []
        self.unbalanced: list[str] = []
        self.feed(html)
        self.close()
        self.unbalanced += [self.elements[number][0] for number in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))
        if tag in ("td", "th", "tr", "p", "li", "details"):
            self.handle_data(" ")
        if tag not in self._EMPTY:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self.elements[self._open[-1]][0] == tag:
            self._open.pop()
        else:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        for number in self._open:
            self.elements[number][2].append(data)

    def all(self, tag: str, **attributes: str) -> list[tuple[dict[str, str], str]]:
        """Attributes and text of the elements of a tag; ``class_`` asks for one of its classes."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        chosen = []
        for name, own, text in self.elements:
            if name == tag and all(
                value in own.get(key, "").split() if key == "class" else own.get(key) == value
                for key, value in wanted.items()
            ):
                chosen.append((own, "".join(text)))
        return chosen

    def texts(self, tag: str, **attributes: str) -> list[str]:
        return [" ".join(text.split()) for _, text in self.all(tag, **attributes)]

    def text(self) -> str:
        """All that a reader sees, spaces made one."""
        bodies = [text for tag, _, text in self.elements if tag == "body"]
        return " ".join("".join(bodies[0]).split())
