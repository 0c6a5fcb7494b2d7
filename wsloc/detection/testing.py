"""A trained detector evaluated on the true boxes of images that it was not trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from wsloc.config import DataSettings
from wsloc.datasets import Dataset, open_dataset, read_ground_truth
from wsloc.detection.checkpoint import Detector
from wsloc.detection.data import BoxedImages, require_same_classes
from wsloc.detection.detector_folder import write_results
from wsloc.detection.inference import detect
from wsloc.errors import UserError
from wsloc.files.reading import read_bytes
from wsloc.judging.detection_metrics import average_precision
from wsloc.judging.judged_run import judge_run
from wsloc.judging.run_summary import write_summary
from wsloc.progress import Progress, silent
from wsloc.runs.read_run import read_run
from wsloc.runs.run_folder import RunFolder

MAX_TOP = 50
"""The largest K of ``targets='topK'``."""


@dataclass(frozen=True, slots=True)
class Tested:
    """The result of a test.

    Attributes:
        path: the run folder.
        counts: as :func:`wsloc.judging.run_summary.count_records` gives them.
        text: for a terminal.
        average_precision: by name, in [0, 1]; None if there is no true box to judge by.
    """

    path: Path
    counts: dict[str, int]
    text: str
    average_precision: Mapping[str, float] | None


def open_test(given: DataSettings, trained: BoxedImages) -> tuple[Dataset, DataSettings]:
    """The images to test on, labeled or not: a detector has to see for itself that a class is not there.

    Args:
        given: which images and classes.
        trained: what the detector learns from.

    Returns:
        The images, and the settings that whoever reads the run opens them by.

    Raises:
        UserError: if the classes are not those that are learned, there are no true boxes, or an image is also
            trained on.
    """
    whole = open_dataset(replace(given, targets=f"top{MAX_TOP}"))
    classes = given.classes or whole.class_names
    if unknown := [name for name in given.classes if name not in whole.class_names]:
        raise UserError(f"`test_classes`: the test set has no class {unknown[0]!r}.")
    require_same_classes(trained.class_names, classes)
    if read_ground_truth(given, replace(whole, images=whole.images[:1])) is None:
        raise UserError(f"{whole.name} has no true boxes to test against; `test_dataset='folder'` takes `test_boxes`.")
    if shared := count_shared((boxed.image.path for boxed in trained.images), (image.path for image in whole.images)):
        raise UserError(
            f"{shared} of the {len(whole.images)} test images are also trained on, so the test would say nothing; give "
            "another `test_split`."
        )
    return whole, replace(given, targets=f"top{min(MAX_TOP, len(classes))}")


def count_shared(trained: Iterable[Path], tested: Iterable[Path]) -> int:
    """How many tested files are among the trained ones, also as the copies of the same name that an export holds."""
    of_name: dict[str, list[Path]] = defaultdict(list)
    for path in trained:
        of_name[path.name].append(path)
    return sum(any(_same_file(path, other) for other in of_name[path.name]) for path in tested)


def judge_detector(
    folder: RunFolder,
    dataset: Dataset,
    settings: DataSettings,
    detector: Detector,
    device: torch.device,
    *,
    batch_size: int = 8,
    pool: Executor | None = None,
    progress: Progress = silent,
) -> Tested:
    """Write the detections on the test images, and what they are worth.

    Args:
        folder: of the run; its finished parts are not asked for again.
        dataset: the test images.
        settings: that open them.
        detector: its model is on the device.
        device: where to compute.
        batch_size: images per batch.
        pool: reads the images; None to read them between the batches.
        progress: counts the images, then the metrics.
    """
    ask = partial(
        detect, detector.model, class_names=detector.class_names, device=device, batch_size=batch_size, pool=pool
    )
    for _ in progress(write_results(folder, dataset.images, ask), "test", "image", len(dataset.images)):
        pass
    judged = judge_run(replace(read_run(folder.path), complete=True), settings, dataset)
    found: Mapping[str, float] | None = None
    if judged.judged is not None and judged.truth is not None:
        found = average_precision(
            judged.truth.images, judged.contents.localizations, "probability", settings.classes or None, progress
        )
    more = {} if found is None else {"average precision": found}
    summary = write_summary(judged, dataset, more=more, progress=progress)
    return Tested(folder.path, summary.counts, summary.text, found)


def _same_file(path: Path, other: Path) -> bool:
    try:
        return path.resolve() == other.resolve() or read_bytes(path) == read_bytes(other)
    except OSError:
        return False
