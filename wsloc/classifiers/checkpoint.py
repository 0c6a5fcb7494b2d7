"""Checkpoints of wsloc: weights and what is needed to feed them, in one safetensors file."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from wsloc.errors import UserError

_METADATA_KEY = "wsloc"


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """How to build the network of a checkpoint, how to feed it and how to read its scores.

    Attributes:
        arch: name of the architecture.
        class_names: name of each output.
        input_size_hw: height and width of the network's input in pixels.
        mean: what is subtracted from each channel of an image in [0, 1].
        std: what each channel is then divided by.
        activation: what turns the scores into probabilities.
        resize: as in :class:`~wsloc.classifiers.preprocessing.Preprocessing`.
        resample: name of a Pillow filter.
    """

    arch: str
    class_names: tuple[str, ...]
    input_size_hw: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    activation: Literal["softmax", "sigmoid"]
    resize: Literal["squash", "short-side"] = "squash"
    resample: str = "BILINEAR"


def save_checkpoint(path: Path, network: nn.Module, info: CheckpointInfo) -> None:
    """Writes the network's parameters and buffers, with ``info`` as JSON in the file's metadata.

    The file appears under its name only when it is complete.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(checkpoint_bytes(network, info))
    partial.replace(path)


def checkpoint_bytes(network: nn.Module, info: CheckpointInfo) -> bytes:
    """What :func:`save_checkpoint` writes; the same network and info give the same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # Defaults are left out, so that files from before a field existed keep their bytes.
    defaults = {field.name: field.default for field in fields(info) if field.default is not MISSING}
    written = {key: value for key, value in asdict(info).items() if key not in defaults or value != defaults[key]}
    return bytes(save(tensors, metadata={_METADATA_KEY: json.dumps(written)}))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], CheckpointInfo]:
    """The tensors and the info of a file that :func:`save_checkpoint` wrote; nothing in it is executed.

    Returns:
        The state dict, on the CPU, with the dtypes it was saved with; and the info.

    Raises:
        UserError: if the file is missing, is not a safetensors file or was not written by wsloc.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except OSError as error:
        raise UserError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file, and wsloc opens no other kind: {error}") from error
    if _METADATA_KEY not in metadata:
        raise UserError(
            f"{path} holds weights, but not what wsloc needs to use them: give a file that wsloc's training "
            "wrote, or name the architecture and its classes along with the weights"
        )
    return tensors, _parse_info(metadata[_METADATA_KEY], path)


def _parse_info(text: str, path: Path) -> CheckpointInfo:
    try:
        written = json.loads(text)
        height, width = written["input_size_hw"]
        info = CheckpointInfo(
            arch=str(written["arch"]),
            class_names=tuple(map(str, written["class_names"])),
            input_size_hw=(int(height), int(width)),
            mean=tuple(map(float, written["mean"])),
            std=tuple(map(float, written["std"])),
            activation=written["activation"],
            resize=written.get("resize", "squash"),
            resample=str(written.get("resample", "BILINEAR")),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"the wsloc metadata of {path} cannot be read: {error!r}") from error
    if info.activation not in ("softmax", "sigmoid"):
        raise UserError(f"{path} names the activation {info.activation!r}: wsloc knows softmax and sigmoid")
    if info.resize not in ("squash", "short-side") or info.resample not in Image.Resampling.__members__:
        raise UserError(
            f"{path} resizes images by {info.resize!r} and {info.resample!r}: wsloc knows squash and short-side, and "
            "Pillow's filters"
        )
    if not info.class_names or len(info.mean) != len(info.std) or len(info.mean) not in (1, 3):
        raise UserError(
            f"{path} has {len(info.class_names)} classes, {len(info.mean)} means and {len(info.std)} standard "
            "deviations: it needs a class, and one or three of the others"
        )
    return info
