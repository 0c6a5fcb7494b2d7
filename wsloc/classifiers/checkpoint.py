"""Checkpoints of wsloc: weights and what is needed to feed them, in one safetensors file."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from wsloc.classifiers.preprocessing import Preprocessing
from wsloc.errors import UserError
from wsloc.files.atomic import write_atomic
from wsloc.files.documents import parse_json
from wsloc.images import MAX_PIXELS

_METADATA_KEY = "wsloc"
_USUAL_RESIZE, _USUAL_FILTER = "squash", "BILINEAR"


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """How to build the network of a checkpoint, how to feed it and how to read its scores.

    Attributes:
        arch: name of the architecture.
        class_names: name of each output.
        preprocessing: how an image becomes its input.
        activation: what turns the scores into probabilities.
    """

    arch: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    activation: Literal["softmax", "sigmoid"]


def save_checkpoint(path: Path, network: nn.Module, info: CheckpointInfo) -> None:
    """Write the network's parameters and buffers, with ``info`` as JSON in the file's metadata.

    Raises:
        UserError: if the disk is full or the folder cannot be written.
    """
    write_atomic(path, checkpoint_bytes(network, info))


def checkpoint_bytes(network: nn.Module, info: CheckpointInfo) -> bytes:
    """What :func:`save_checkpoint` writes; the same network and info give the same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    own = info.preprocessing
    written: dict[str, object] = {"arch": info.arch, "class_names": info.class_names}
    written |= {"input_size_hw": own.input_size_hw, "mean": own.mean, "std": own.std, "activation": info.activation}
    # What is usual is left out: files from before these fields were there keep their bytes.
    if own.resize != _USUAL_RESIZE:
        written["resize"] = own.resize
    if own.resample.name != _USUAL_FILTER:
        written["resample"] = own.resample.name
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
        written = parse_json(text)
        arch, class_names = str(written["arch"]), tuple(map(str, written["class_names"]))
        height, width = map(int, written["input_size_hw"])
        mean, std = (tuple(map(float, written[name])) for name in ("mean", "std"))
        activation, resize = written["activation"], written.get("resize", _USUAL_RESIZE)
        resample = str(written.get("resample", _USUAL_FILTER))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"the wsloc metadata of {path} cannot be read: {error!r}") from error
    if activation not in ("softmax", "sigmoid"):
        raise UserError(f"{path} names the activation {activation!r}: wsloc knows softmax and sigmoid")
    if resize not in ("squash", "short-side") or resample not in Image.Resampling.__members__:
        raise UserError(
            f"{path} resizes images by {resize!r} and {resample!r}: wsloc knows squash and short-side, and "
            "Pillow's filters"
        )
    if not class_names or len(mean) != len(std) or len(mean) not in (1, 3):
        raise UserError(
            f"{path} has {len(class_names)} classes, {len(mean)} means and {len(std)} standard deviations: it needs a "
            "class, and one or three of the others"
        )
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise UserError(f"{path} is of a network for images of {width} x {height} pixels: no image has that size")
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise UserError(
            f"{path} has means {mean} and standard deviations {std}: they must be finite, the latter above 0"
        )
    preprocessing = Preprocessing((height, width), mean, std, resize, Image.Resampling[resample])
    return CheckpointInfo(arch, class_names, preprocessing, activation)
