"""The flags that ``wsloc train-detector`` and ``wsloc self-train`` share: the images and boxes to train on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from wsloc.config import DataSettings, optional
from wsloc.config_files import settings_of_run, to_yaml
from wsloc.errors import UserError

if TYPE_CHECKING:
    from wsloc.detection.labels import Labels

TRUTH = "truth"


@dataclass(frozen=True)
class TrainingImages(DataSettings):
    """The images to train on; only needed if --boxes-from does not name them, or to read the images of an export from
    their data set."""

    class_name: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    targets: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = "labels"
    images: Annotated[str | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    masks: Annotated[Path | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    boxes: Annotated[Path | None, optional("CSV", "none")] = None
    """folder: true boxes, rows image,class,x0,y0,x1,y1 (half-open, 0-based pixels)"""


def open_labels(named: str, data: DataSettings, *, drop_empty: bool) -> Labels:
    """The images and boxes that ``--boxes-from`` names: true ones, those of a run, or those of an export.

    Raises:
        UserError: if there is no such thing, or no box in it.
    """
    # Only now, so that --help and a misspelled flag answer before torch is loaded.
    from wsloc.detection.labels import is_run, labels_of_export, labels_of_run, labels_of_truth, read_boxes_of_run

    if named == TRUTH:
        if data.dataset is None:
            raise UserError("--boxes-from truth needs the data set that has true boxes: give --dataset NAME.")
        return labels_of_truth(data, drop_empty=drop_empty)
    path = Path(named)
    if not is_run(path):
        return labels_of_export(path, data, drop_empty=drop_empty)
    if data.dataset is not None:
        raise UserError(f"{path} is a run and knows its data set; leave out --dataset (--root names its folder).")
    contents = read_boxes_of_run(path)
    settings = settings_of_run(path).data
    settings = replace(settings, root=data.root or settings.root, download=False)
    return labels_of_run(contents, settings, drop_empty=drop_empty)


def as_comments(config: Any) -> str:
    """The settings of a verb as comment lines for a YAML file."""
    return "".join(f"# {line}\n" for line in to_yaml(config).splitlines())
