"""The boxes of a run as a data set of FiftyOne, to look through them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsloc.errors import UserError
from wsloc.exporters.source import source_of_run
from wsloc.files.image_path import span_of
from wsloc.files.tar_index import path_below
from wsloc.plugins import trusting
from wsloc.records import BoxRecord, boxes_by_item
from wsloc.runs.read_run import read_run

if TYPE_CHECKING:
    import fiftyone


def to_fiftyone(run: str | os.PathLike[str], name: str | None = None, *, trust: bool = False) -> fiftyone.Dataset:
    """A data set of FiftyOne with the images of a run, its boxes, and why others have none.

    Each sample has ``boxes``, detections whose confidence is the quality of the box (a detector's score) and which also
    have the ``probability``, and ``failures``, a list of sentences. Its images stay where they are.

    Args:
        run: its folder; it may be unfinished.
        name: of the data set, which FiftyOne keeps until it is deleted; None for a temporary one.
        trust: whether the settings of the run may name code to run, such as a data set of your own.

    Raises:
        UserError: if FiftyOne is not installed, the folder is not a run, or its images are in tars or not where they
            were.
    """
    try:
        import fiftyone
    except ImportError as error:
        raise UserError("This needs FiftyOne: pip install 'wsloc[fiftyone]'.") from error
    folder = Path(run)
    with trusting(trust):
        root = source_of_run(folder).root.absolute()
    contents = read_run(folder)
    first = next((record.file for record in (*contents.localizations, *contents.failures)), "")
    if span_of(path_below(root, first)):
        raise UserError(f"The images of {folder} are in tars, where FiftyOne does not find them; unpack the tars.")
    boxes: dict[str, list[Any]] = {}
    failures: dict[str, list[str]] = {}
    for own in boxes_by_item(contents.localizations).values():
        boxes.setdefault(own[0].file, []).extend(fiftyone.Detection(**_fields(box)) for box in own)
    for failure in contents.failures:
        what = f"{failure.class_name}: " if failure.class_name else ""
        failures.setdefault(failure.file, []).append(f"{what}{failure.reason}")
    dataset = fiftyone.Dataset(name=name, persistent=name is not None)
    dataset.add_samples(
        fiftyone.Sample(
            filepath=str(root / file),
            boxes=fiftyone.Detections(detections=boxes.get(file, [])),
            failures=failures.get(file, []),
        )
        for file in dict.fromkeys([*boxes, *failures])
    )
    return dataset


def _fields(box: BoxRecord) -> dict[str, Any]:
    """A detection's: the box as left, top, width and height, in fractions of the image."""
    (width, height), (x0, y0, x1, y1) = box.size_wh, box.box_xyxy
    return {
        "label": box.class_name,
        "bounding_box": [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
        "confidence": box.score_by("quality"),
        "probability": box.score_by("probability"),
    }
