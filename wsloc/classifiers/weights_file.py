"""Weights as files hold them: state dicts, bare or somewhere inside a training's checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import torch
from safetensors.torch import load_file
from torch import Tensor

from wsloc.errors import UserError, one_line

_WRAPPERS = (
    "state_dict",
    "model",
    "model_state_dict",
    "net",
    "network",
    "module",
    "model_ema",
    "state_dict_ema",
    "ema",
)
"""Keys under which training scripts put the state dict into their checkpoint; where there are several, the first."""
_MAX_DEPTH = 3
_NO_WEIGHTS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch it with: git lfs pull",
    b"<!doctype html": "is a web page, not weights; download the file itself",
    b"<html": "is a web page, not weights; download the file itself",
}
"""Beginnings of files that stand where weights should be, in lower case."""


def read_states(path: Path) -> dict[str, Mapping[str, Tensor]]:
    """The state dicts of a file; nothing in it is executed.

    Args:
        path: .pth or .safetensors, told apart by what it holds.

    Returns:
        At least one, by where it stands in the file: ``state_dict``, ``model.ema``; an empty name for the whole file.

    Raises:
        UserError: if the file is missing, holds no weights, or holds objects that only running their code could open.
    """
    if not path.is_file():
        raise UserError(f"The weights {path} do not exist.")
    try:
        with path.open("rb") as file:
            content = _content(path, file)
    except UserError:
        raise
    except Exception as error:  # the unpickler may raise anything if a file is not a checkpoint
        raise UserError(f"The weights {path} cannot be read {_why(one_line(error))}") from error
    found = dict(_states(content))
    if not found:
        raise UserError(f"The weights {path} hold no state dict; save network.state_dict().")
    return found


def _content(path: Path, file: IO[bytes]) -> object:
    start = file.read(64)
    if not start:
        raise UserError(f"The weights {path} cannot be read: the file is empty; copy or download it again.")
    for beginning, what in _NO_WEIGHTS.items():
        if start.lstrip().lower().startswith(beginning):
            raise UserError(f"The weights {path} cannot be read: the file {what}.")
    if start[8:9] == b"{":  # A safetensors file begins with the length of a JSON object, in eight bytes.
        return load_file(path)
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def _why(said: str) -> str:
    """The end of a sentence that says why the unpickler refused a file."""
    save = "save network.state_dict() with torch.save or safetensors."
    if named := re.search(r"GLOBAL ([\w.]+)", said):
        return (
            f"as a plain state dict: the file holds Python objects ({named[1]}), as a whole network that is pickled "
            f"does, and wsloc runs no code of a file; load it where you trust it, and {save}"
        )
    if "TorchScript" in said:
        return f"as a plain state dict: the file is a TorchScript archive; open it with torch.jit.load, and {save}"
    return f"as a plain state dict ({said[:120]}); {save}"


def _states(content: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    if not isinstance(content, dict) or not content or depth > _MAX_DEPTH:
        return
    if all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        yield name, content
        return
    known = [key for key in _WRAPPERS if key in content]
    for key in known + [key for key in content if key not in known]:
        if isinstance(key, str):
            yield from _states(content[key], f"{name}.{key}".lstrip("."), depth + 1)
