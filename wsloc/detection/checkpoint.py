"""Files of a detector: its weights for use, and what its training needs to go on.

The weights are safetensors, with the class names and the architecture as JSON in the metadata. Going on also needs
the optimizer's momentum, a file of ``torch.save`` that is read with ``weights_only``: nothing in it is executed.
"""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from wsloc.detection.models import build_detector
from wsloc.detection.settings import DetectorSettings
from wsloc.errors import UserError, one_line
from wsloc.files.atomic import write_atomic
from wsloc.registries import DETECTORS

_KEY = "wsloc_detector"


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """A detector that is ready to be asked.

    Attributes:
        model: in evaluation mode, on the CPU.
        settings: that built it.
        class_names: of its outputs, from 1.
    """

    model: nn.Module
    settings: DetectorSettings
    class_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """What a training needs to go on after an epoch.

    Attributes:
        epoch: the last that is done, from 1.
        model: the detector's state dict.
        optimizer: the optimizer's, and the loss scaler's.
        log: what was recorded of all epochs, plain values.
    """

    epoch: int
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    log: dict[str, Any]


def save_detector(path: Path, detector: Detector) -> None:
    """Write a detector for use."""
    info = {"class_names": list(detector.class_names), "settings": asdict(detector.settings)}
    write_atomic(path, _as_bytes(detector.model.state_dict(), info))


def load_detector(path: Path) -> Detector:
    """Read a detector that :func:`save_detector` wrote.

    Raises:
        UserError: if the file is missing, no safetensors file, or not of a detector that this wsloc knows.
    """
    state, info = _read(path)
    try:
        given = {**info["settings"], "backbone": "none"}
        # A file must not choose what is imported: a detector of one's own is added to the registry first.
        if given["arch"] not in DETECTORS:
            raise UserError(f"{path} is of a detector {given['arch']!r}, which this wsloc does not know.")
        settings = DetectorSettings(**given)
        class_names = tuple(map(str, info["class_names"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} does not say which detector it is of ({error!r}); train it again.") from error
    model = build_detector(settings, class_names)
    load_into(model, state, path)
    return Detector(model.eval(), settings, class_names)


def save_state(folder: Path, state: TrainingState) -> None:
    """Write what is needed to go on after an epoch, and remove what the epoch before had left.

    The weights come last, under their name only when they are whole: an epoch without them was not done.
    """
    optimizer = io.BytesIO()
    torch.save(state.optimizer, optimizer)
    stem = folder / f"epoch-{state.epoch:04d}"
    write_atomic(stem.with_suffix(".optimizer.pt"), optimizer.getvalue())
    write_atomic(stem.with_suffix(".safetensors"), _as_bytes(state.model, {"log": state.log}))
    for path in folder.glob("epoch-*"):
        if not path.name.startswith(stem.name):
            path.unlink(missing_ok=True)


def read_state(folder: Path) -> TrainingState | None:
    """The newest state in a folder; None where there is none.

    Raises:
        UserError: if it is damaged, or holds anything but plain values and tensors.
    """
    written = sorted(folder.glob("epoch-*.safetensors"))
    if not written:
        return None
    path = written[-1]
    model, info = _read(path)
    beside = path.with_suffix(".optimizer.pt")
    try:
        optimizer = torch.load(beside, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever it trips over, also what it refuses to run
        raise UserError(
            f"{beside} cannot be read ({one_line(error)[:120]}); start the training without --resume."
        ) from error
    return TrainingState(int(path.stem.removeprefix("epoch-")), model, optimizer, info["log"])


def load_into(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Fill a detector.

    Raises:
        UserError: if the weights are of another one.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} has weights of another detector ({one_line(error)[:120]}).") from error


def _as_bytes(state: dict[str, Tensor], info: dict[str, Any]) -> bytes:
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    return save(tensors, metadata={_KEY: json.dumps(info)})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is no safetensors file that can be read ({one_line(error)[:120]}).") from error
    with contextlib.suppress(KeyError, ValueError):
        info = json.loads(metadata[_KEY])
        if isinstance(info, dict):
            return tensors, info
    raise UserError(f"{path} holds no detector; give a file that wsloc train-detector wrote.")
