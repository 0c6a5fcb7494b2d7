"""All of ``self-train``: settings in; a folder of rounds and their figures out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsloc.config_files import to_comments
from wsloc.detection.configs import SelfTrainConfig
from wsloc.detection.labels import open_labels
from wsloc.detection.models import require_backbone
from wsloc.detection.refine import load_refine
from wsloc.detection.round_figures import RoundFigures, round_figures, write_figures
from wsloc.detection.rounds import SelfTrainingTask, self_train
from wsloc.devices import choose_device
from wsloc.progress import Progress, silent
from wsloc.runs.choose_folder import open_run_folder
from wsloc.threads import applied, plan_threads


@dataclass(frozen=True, slots=True, eq=False)
class SelfTrained:
    """A self-training that is done.

    Attributes:
        path: its folder.
        figures: of the rounds, from the boxes as given on.
        problems: images, annotations and boxes of which something could not be read or fixed, in all rounds.
        readable: whether the rounds know their data set, so that other verbs read them.
    """

    path: Path
    figures: Sequence[RoundFigures]
    problems: int
    readable: bool


def run_self_training(
    config: SelfTrainConfig,
    command: Sequence[str] = (),
    announce: Callable[[Path], None] = lambda _folder: None,
    progress: Progress = silent,
) -> SelfTrained:
    """Run the rounds, or what is left of them, and judge each where there are true boxes.

    Args:
        config: all settings.
        command: the words of the command line, for the manifests.
        announce: called with the folder, before the first round.
        progress: shows the progress over the steps and images of each part of a round.

    Raises:
        UserError: if anything is wrong with the boxes, the images, the detector or the folder.
    """
    refine = load_refine(config.refine) if config.refine else None
    device = choose_device(config.training.device)
    labels = open_labels(
        config.boxes_from, config.data, drop_empty=config.drop_empty, ignore_fraction=config.ignore_fraction
    )
    require_backbone(config.detector)
    plan = plan_threads(device, may_wait=False)
    task = SelfTrainingTask(config, labels, device, plan.network, tuple(command), refine)
    text = f"# Settings of wsloc self-train\n{to_comments(config)}"
    stem = f"self-train-{labels.boxed.name}-{config.detector.arch}"
    folder = open_run_folder(config.output, stem, text, task.identity())
    with folder:
        manifest = task.manifest()
        folder.write_manifest(manifest)
        with applied(plan) as pool:
            announce(folder.path)
            rounds = self_train(task, folder.path, pool, progress)
        figures = round_figures(rounds)
        write_figures(folder.path / "rounds.csv", figures)
        folder.finish({**manifest, "images": len(labels.dataset.images)})
    problems = sum(done.problems for done in rounds)
    return SelfTrained(folder.path, figures, problems, labels.settings is not None)
