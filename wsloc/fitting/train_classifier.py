"""All of ``train-classifier``: settings in; a folder with the checkpoint and its figures out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsloc.config_files import to_yaml
from wsloc.fitting.classifier_folder import CHECKPOINT, identity_of, manifest_of
from wsloc.fitting.fit import fit
from wsloc.fitting.fitting_settings import TrainClassifierConfig
from wsloc.fitting.open_task import open_task
from wsloc.fitting.report import Outcome, format_outcome, write_outcome
from wsloc.fitting.scoring import Scores
from wsloc.fitting.task import ClassifierTask
from wsloc.progress import Progress, silent
from wsloc.runs.choose_folder import open_run_folder
from wsloc.threads import applied, plan_threads


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrainedClassifier:
    """A classifier that has been trained.

    Attributes:
        path: the folder of the training.
        task: what was trained, on what.
        outcome: the network and how the training went.
        figures: its metrics on the held-out images (``held_out``) and on the test images (``test``).
    """

    path: Path
    task: ClassifierTask
    outcome: Outcome
    figures: Mapping[str, Scores]

    @property
    def checkpoint(self) -> Path:
        """The file that the setting ``checkpoint``, or ``wsloc.localize(model=...)``, takes."""
        return self.path / CHECKPOINT

    def __repr__(self) -> str:
        return f"TrainedClassifier({str(self.path)!r})\n{format_outcome(self.task, self.outcome, self.figures)}"


def train_classifier(
    config: TrainClassifierConfig,
    command: Sequence[str] = (),
    announce: Callable[[ClassifierTask, Path], None] = lambda _task, _folder: None,
    progress: Progress = silent,
) -> TrainedClassifier:
    """Train on the image-level labels of a data set, and test on another split where one is given.

    Args:
        config: all settings.
        command: the words of the command line, for the manifest.
        announce: called with what is trained, and where, before the first image.
        progress: shows the progress over features, steps and tests.

    Raises:
        UserError: if anything is wrong with the data set, the network or the folder.
    """
    task = open_task(config.data, config.test_split, config.fitting, config.compute)
    plan = plan_threads(task.device, config.compute.workers, may_wait=False)
    stem = f"classifier-{config.data.dataset}-{task.backbone.arch.replace(':', '-')}"
    identity = identity_of(task, plan.network)
    folder = open_run_folder(config.output, stem, to_yaml(config), identity)
    with folder, applied(plan) as pool:
        manifest = manifest_of(task, identity, command)
        folder.write_manifest(manifest)
        announce(task, folder.path)
        outcome = fit(task, folder.path, pool, progress)
        figures = write_outcome(folder.path, task, outcome)
        ended = {"epochs": len(outcome.history), "best_epoch": outcome.best_epoch, "failures": len(outcome.problems)}
        folder.finish({**manifest, **ended})
    return TrainedClassifier(folder.path, task, outcome, figures)
