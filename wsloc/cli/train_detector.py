"""``wsloc train-detector``: a detector from pseudo-labels, or from true boxes for comparison."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from wsloc.cli.bars import training_bar
from wsloc.cli.detector_flags import TrainingImages, as_comments, open_labels
from wsloc.cli.parse import parse
from wsloc.config import DataSettings, optional, require
from wsloc.detection.detector_settings import DetectorSettings, TrainingSettings
from wsloc.errors import UserError

if TYPE_CHECKING:
    from wsloc.detection.labels import Labels
    from wsloc.detection.testing import Tested


@dataclass(frozen=True)
class _TestImages:
    """The images to test on, with true boxes; other settings are those of the training images."""

    test_dataset: Annotated[str | None, optional("NAME", "that of the training, if --test-split is given")] = None
    """data set to test on"""
    test_split: Annotated[str | None, optional("NAME", "see docs/formats.md")] = None
    """its split"""
    test_root: Annotated[Path | None, optional("DIR", "that of the training, or the data set's default")] = None
    """its folder"""
    test_year: Annotated[str | None, optional("YEAR", "that of the training")] = None
    """voc: year of the data set"""
    test_annotations: Annotated[Path | None, optional("PATH", "below --test-root")] = None
    """coco: the instances JSON file"""
    test_labels: Annotated[Path | None, optional("CSV", "none")] = None
    """folder: CSV file with rows image,label[;label...]"""
    test_boxes: Annotated[Path | None, optional("CSV", "none")] = None
    """folder: its true boxes"""
    test_classes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...", help_behavior_hint="(default: all)")] = ()
    """use only these classes"""
    test_ids: Annotated[Path | None, optional("FILE", "all")] = None
    """use only the images whose ids this text file lists, one per line"""
    test_limit: Annotated[int | None, optional("N", "all")] = None
    """use only the first N images (>= 1)"""

    def settings(self, data: DataSettings) -> DataSettings | None:
        """The settings of the test set; None if there is none."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if all(value in (None, ()) for value in given.values()):
            return None
        same = self.test_dataset in (None, data.dataset)
        if self.test_dataset is None and data.dataset is None:
            raise UserError("--test-split and similar flags need --test-dataset NAME, the data set to test on.")
        base = data if same else DataSettings()
        return DataSettings(
            dataset=self.test_dataset or data.dataset,
            root=self.test_root or base.root,
            year=self.test_year or base.year,  # type: ignore[arg-type]
            split=self.test_split or base.split,
            labels=self.test_labels or base.labels,
            annotations=self.test_annotations,
            boxes=self.test_boxes or base.boxes,
            classes=self.test_classes,
            ids=self.test_ids,
            limit=self.test_limit,
        )


@dataclass(frozen=True)
class TrainDetectorConfig:
    """Train a detector on the boxes of an export or a run, or on true boxes, and test it against true boxes.

    Writes a run folder: wsloc evaluate and wsloc report read its detections like the boxes of any run.
    """

    boxes_from: Annotated[str, tyro.conf.arg(metavar="EXPORT|RUN|truth")]
    """boxes to train on: a COCO export (folder or instances file), a run folder, or truth (needs --dataset)"""
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    drop_empty: bool = False
    """leave out images without a box; otherwise they serve as negatives"""
    data: TrainingImages = field(default_factory=TrainingImages)
    test: _TestImages = field(default_factory=_TestImages)
    out: Annotated[Path | None, optional("DIR", "runs/detector-BOXES-ARCH-NNN")] = None
    """run folder"""
    resume: bool = False
    """resume an unfinished training: --out, or the newest one with the same settings"""
    overwrite: bool = False
    """replace the run folder given by --out"""

    def __post_init__(self) -> None:
        require(not (self.resume and self.overwrite), "--resume and --overwrite exclude each other: give only one.")


def run(arguments: Sequence[str]) -> int:
    """Train, test, and print the table.

    Returns 1 if an image was left out or an annotation was bad, 130 if interrupted, else 0.
    """
    config = parse(TrainDetectorConfig, "train-detector", arguments)
    try:
        return _train_and_test(config, ["wsloc", "train-detector", *arguments])
    except KeyboardInterrupt:
        print("wsloc: interrupted; the same command with --resume continues the training.", file=sys.stderr)
        return 130


def _train_and_test(config: TrainDetectorConfig, command: Sequence[str]) -> int:
    # Only now, so that --help and a misspelled flag answer before torch is loaded.
    from wsloc.detection.checkpoint import Detector, save_detector
    from wsloc.detection.detector_folder import DETECTOR, identity_of, manifest_of, write_problems
    from wsloc.detection.learner import plan_training, train_detector
    from wsloc.detection.models import require_backbone
    from wsloc.detection.testing import judge_detector, open_test
    from wsloc.pipeline import applied, choose_device
    from wsloc.runs.choose_folder import open_run_folder
    from wsloc.training.training_folder import finish_training

    device = choose_device(config.training.device)
    labels = open_labels(config.boxes_from, config.data, drop_empty=config.drop_empty)
    given = config.test.settings(labels.settings or config.data)
    test, settings = (None, None) if given is None else open_test(given, labels.boxed)
    require_backbone(config.detector)
    plan = plan_training(device)
    identity = identity_of(labels.boxed, device, plan.network, test.fingerprint() if test is not None else None)
    stem, text = f"detector-{labels.boxed.name}-{config.detector.arch}", _config_yaml(config, settings)
    folder, resumed = open_run_folder(
        config.out, stem, text, resume=config.resume, overwrite=config.overwrite, identity=identity
    )
    with folder, applied(plan) as pool:
        manifest = manifest_of("detector", command, identity, labels.boxed, config.detector, config.training)
        folder.write_manifest(manifest)
        _announce(config, labels, folder.path, resumed)
        trained = train_detector(
            folder.path, labels.boxed, config.detector, config.training, device, pool, progress=training_bar
        )
        detector = Detector(trained.model, config.detector, labels.boxed.class_names)
        save_detector(folder.path / DETECTOR, detector)
        left_out = write_problems(folder.path, [*labels.boxed.problems, *trained.problems])
        counts: dict[str, int] = {}
        if test is None or settings is None:
            folder.join()
        else:
            size = config.training.batch_size
            tested = judge_detector(
                folder, test, settings, detector, device, batch_size=size, pool=pool, progress=training_bar
            )
            _print_figures(tested)
            counts = tested.counts
        finish_training(folder, {**manifest, "images": len(test.images) if test is not None else 0, "counts": counts})
    _say(folder.path, len(trained.history), left_out, tested=test is not None)
    return 1 if left_out or counts.get("failures") or counts.get("images_without_truth") else 0


def _config_yaml(config: TrainDetectorConfig, settings: DataSettings | None) -> str:
    """The test images, which every reader of the run needs, below the settings of the training as comments."""
    from wsloc.detection.detector_folder import data_yaml

    head = f"# A detector of wsloc train-detector, trained with\n{as_comments(config)}# and tested on\n"
    return head + data_yaml(config.detector.arch, settings)


def _announce(config: TrainDetectorConfig, labels: Labels, folder: Path, resumed: bool) -> None:
    counts = labels.boxed.counts()
    ignored = f", {counts['ignored']} regions to ignore" if counts["ignored"] else ""
    empty = f", {counts['empty']} of them without a box" if counts["empty"] else ""
    print(
        f"{counts['boxes']} boxes{ignored} of {len(labels.boxed.class_names)} classes on {counts['images']} "
        f"images{empty}; {config.detector.arch}.\n{'Resuming' if resumed else 'Writing'} {folder}",
        file=sys.stderr,
    )


def _print_figures(tested: Tested) -> None:
    print(tested.text)
    if tested.average_precision is not None:
        print("\naverage precision; percent")
        for name, value in tested.average_precision.items():
            print(f"  {name:<20}{100 * value:>6.1f}")


def _say(folder: Path, epochs: int, left_out: int, *, tested: bool) -> None:
    from wsloc.detection.detector_folder import DETECTOR, PROBLEMS

    if left_out:
        print(f"\n{left_out} images or labels were left out of the training or fixed: {folder / PROBLEMS}")
    print(f"\nRun folder: {folder}\nDetector: {folder / DETECTOR}, {epochs} epochs")
    if tested:
        print(f"Next:\n  every metric          wsloc evaluate {shlex.quote(str(folder))}")
