"""All of ``train-detector``: settings in; a run folder with the detector and what it finds in the test images out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsloc.config import DataSettings
from wsloc.config_files import to_comments
from wsloc.detection.checkpoint import Detector, save_detector
from wsloc.detection.configs import TrainDetectorConfig
from wsloc.detection.detector_folder import DETECTOR, data_yaml, identity_of, manifest_of, write_problems
from wsloc.detection.labels import Labels, open_labels
from wsloc.detection.learner import fit_detector
from wsloc.detection.models import require_backbone
from wsloc.detection.testing import Tested, judge_detector, open_test
from wsloc.devices import choose_device
from wsloc.errors import counted
from wsloc.progress import Progress, silent
from wsloc.runs.choose_folder import open_run_folder
from wsloc.threads import applied, plan_threads


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrainedDetector:
    """A detector that has been trained.

    Attributes:
        path: its run folder, which holds what it finds in the test images.
        epochs: passes over the images.
        left_out: images and labels that were left out of the training or fixed; ``training_problems.txt`` has them.
        tested: how it did on the test images; None if there are none.
    """

    path: Path
    epochs: int
    left_out: int
    tested: Tested | None

    @property
    def detector(self) -> Path:
        """The file that ``wsloc.detect`` takes."""
        return self.path / DETECTOR

    @property
    def average_precision(self) -> Mapping[str, float] | None:
        """In [0, 1], by name, on the test images; None if there are none."""
        return None if self.tested is None else self.tested.average_precision

    def __repr__(self) -> str:
        said = f"TrainedDetector({str(self.path)!r}, {counted(self.epochs, 'epoch')})"
        return said if self.average_precision is None else f"{said}\n{format_precision(self.average_precision)}"


def format_precision(figures: Mapping[str, float]) -> str:
    """Average precision as plain text."""
    return "\n".join(["average precision; percent", *(f"  {name:<20}{100 * x:>6.1f}" for name, x in figures.items())])


def train_detector(
    config: TrainDetectorConfig,
    command: Sequence[str] = (),
    announce: Callable[[Labels, Path], None] = lambda _labels, _folder: None,
    progress: Progress = silent,
) -> TrainedDetector:
    """Train on pseudo-labels or true boxes, and test against true boxes where test images are given.

    Args:
        config: all settings.
        command: the words of the command line, for the manifest.
        announce: called with what is learned, and where, before the first image.
        progress: shows the progress over steps, test images and metrics.

    Raises:
        UserError: if anything is wrong with the boxes, the images, the detector or the folder.
    """
    detector, training = config.detector, config.training
    device = choose_device(training.device)
    labels = open_labels(
        config.boxes_from, config.data, drop_empty=config.drop_empty, ignore_fraction=config.ignore_fraction
    )
    given = config.test.settings(labels.settings or config.data)
    test, settings = (None, None) if given is None else open_test(given, labels.boxed)
    require_backbone(detector)
    plan = plan_threads(device, may_wait=False)
    identity = identity_of(labels.boxed, device, plan.network, test.fingerprint() if test is not None else None)
    stem = f"detector-{labels.boxed.name}-{detector.arch}"
    folder = open_run_folder(config.output, stem, _config_yaml(config, settings), identity)
    with folder, applied(plan) as pool:
        manifest = manifest_of("detector", command, identity, labels.boxed, detector, training)
        folder.write_manifest(manifest)
        announce(labels, folder.path)
        fitted = fit_detector(folder.path, labels.boxed, detector, training, device, pool, progress=progress)
        made = Detector(fitted.model, detector, labels.boxed.class_names)
        save_detector(folder.path / DETECTOR, made)
        left_out = write_problems(folder.path, [*labels.boxed.problems, *fitted.problems])
        tested = None
        if test is None or settings is None:
            folder.join()
        else:
            size = training.batch_size
            tested = judge_detector(folder, test, settings, made, device, batch_size=size, pool=pool, progress=progress)
        counts = tested.counts if tested is not None else {}
        folder.finish({**manifest, "images": len(test.images) if test is not None else 0, "counts": counts})
    return TrainedDetector(folder.path, len(fitted.history), left_out, tested)


def _config_yaml(config: TrainDetectorConfig, settings: DataSettings | None) -> str:
    """The images of the test, which whoever reads the run needs; the training's settings are comments above them."""
    head = f"# A detector of wsloc train-detector, trained with\n{to_comments(config)}# and tested on\n"
    return head + data_yaml(config.detector.arch, settings)
