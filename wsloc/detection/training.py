"""A training in its folder: from boxes to a detector, with its states and curves; a killed one goes on."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

import torch
from torch import nn

from wsloc.detection.checkpoint import read_state
from wsloc.detection.data import BoxedImages
from wsloc.detection.folder import CHECKPOINTS, CURVES, write_curves
from wsloc.detection.loop import EpochRecord, TrainingLog, steps_per_epoch, train
from wsloc.detection.models import build_detector
from wsloc.detection.progress import Watch, unwatched
from wsloc.detection.settings import DetectorSettings, TrainingSettings
from wsloc.errors import UserError
from wsloc.pipeline.threads import ThreadPlan, available_cores


def plan_training(device: torch.device) -> ThreadPlan:
    """All cores to the network on the CPU, where reading takes little; elsewhere all but one to reading."""
    cores = available_cores()
    if device.type == "cpu":
        return ThreadPlan(network=min(cores, torch.get_num_threads()), workers=0)
    return ThreadPlan(network=1, workers=max(1, cores - 1))


def train_in_folder(
    folder: Path,
    labels: BoxedImages,
    detector: DetectorSettings,
    settings: TrainingSettings,
    device: torch.device,
    pool: Executor | None = None,
    *,
    title: str = "training",
    resumed: bool = False,
    watch: Watch = unwatched,
) -> tuple[nn.Module, TrainingLog]:
    """Build a detector and train it, with its states and curves in a folder.

    Args:
        folder: gets ``checkpoints/`` and ``curves.csv``.
        labels: what it learns.
        detector: what is built.
        settings: how it is trained.
        device: where.
        pool: reads the images; None to read them between the steps.
        title: of the work, for whoever watches.
        resumed: go on with the state that is in the folder, where there is one.
        watch: shows the progress in steps.

    Returns:
        The detector in evaluation mode, on the device, and what is known of its training.

    Raises:
        UserError: if the state has no epoch, and as :func:`wsloc.detection.loop.train`.
    """
    states = folder / CHECKPOINTS
    state = read_state(states) if resumed else None
    model = build_detector(detector, labels.class_names, settings.seed)
    log = TrainingLog([], [])
    per_epoch = steps_per_epoch(len(labels.images), settings)
    with watch(title, "step", settings.epochs * per_epoch) as show:
        show(per_epoch * state.epoch if state is not None else 0, "")
        for record in train(model, labels, detector, settings, device, log, pool=pool, folder=states, state=state):
            if isinstance(record, EpochRecord):
                write_curves(folder / CURVES, log.epochs)
                show(record.epoch * per_epoch, "")
            else:
                done = (record.epoch - 1) * per_epoch + record.step
                show(done, f"epoch {record.epoch}, loss {record.loss:.3f}")
    if not log.epochs:
        raise UserError(f"{states} holds no epoch; start the training without `resume=True`.")
    write_curves(folder / CURVES, log.epochs)
    return model, log
