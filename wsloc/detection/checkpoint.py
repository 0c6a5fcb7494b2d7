"""The file of a detector: safetensors, with the class names and the architecture as JSON in the metadata."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from wsloc.detection.detector_settings import DetectorSettings
from wsloc.detection.models import build_detector
from wsloc.errors import UserError, one_line
from wsloc.files.atomic import write_atomic
from wsloc.files.documents import parse_json
from wsloc.registries import DETECTORS

_KEY = "wsloc_detector"


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """A detector that is ready to use.

    Attributes:
        model: in evaluation mode, on the CPU.
        settings: that built it.
        class_names: of its outputs, from 1.
    """

    model: nn.Module
    settings: DetectorSettings
    class_names: tuple[str, ...]


def save_detector(path: Path, detector: Detector) -> None:
    """Write a detector for use."""
    info = {"class_names": list(detector.class_names), "settings": asdict(detector.settings)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in detector.model.state_dict().items()}
    write_atomic(path, save(tensors, metadata={_KEY: json.dumps(info)}))


def load_detector(path: Path) -> Detector:
    """Read a detector that :func:`save_detector` wrote.

    Raises:
        UserError: if the file is missing, not a safetensors file, or not of a detector that this wsloc knows.
    """
    state, info = _read(path)
    try:
        given = {**info["settings"], "backbone": "none"}
        # A file must not choose what is imported: a detector of your own is added to the registry first.
        if given["arch"] not in DETECTORS:
            raise UserError(f"{path} is of a detector {given['arch']!r}, which this wsloc does not know.")
        settings = DetectorSettings(**given)
        class_names = tuple(map(str, info["class_names"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} does not say which detector it is of ({error!r}); train it again.") from error
    model = build_detector(settings, class_names)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} has weights of another detector ({one_line(error)[:120]}).") from error
    return Detector(model.eval(), settings, class_names)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({one_line(error)[:120]}).") from error
    with contextlib.suppress(KeyError, ValueError):
        info = parse_json(metadata[_KEY])
        if isinstance(info, dict):
            return tensors, info
    raise UserError(f"{path} holds no detector; give a file that wsloc train-detector wrote.")
