"""Giving a network the weights of a file, whose keys may be spelled otherwise than the network's."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from wsloc.classifiers.weights_file import read_states
from wsloc.errors import UserError, counted, listed

_log = logging.getLogger(__name__)

_MAX_KEYS_NAMED = 3
_COUNTER = "num_batches_tracked"
"""Last part of the names that files from before PyTorch 0.4.1 lack; evaluation does not use these values."""


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """One way to read a file.

    Attributes:
        place: where in the file the state dict stands; empty for the whole file.
        prefix: what is taken off the keys.
        state: by the network's own names, as far as it has them.
        missing: names that only the network has.
        unexpected: keys that only the file has.
        reshaped: what differs, for each tensor of another shape.
        left_out: how many keys do not begin with the prefix.
    """

    place: str
    prefix: str
    state: Mapping[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]
    left_out: int

    @property
    def faults(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.reshaped)


def load_weights(network: nn.Module, path: Path, arch: str, without: tuple[str, ...] = ()) -> None:
    """Give a network the weights of a file.

    A prefix of all keys (``module.``, ``model.``, ``_orig_mod.``) is taken off where they fit then, and a state dict
    inside a checkpoint is found; that is logged.

    Args:
        network: changed in place.
        path: .pth or .safetensors; nothing in it is executed.
        arch: what messages call the network.
        without: first parts of the names of those weights that are left out.

    Raises:
        UserError: if the file is missing, holds no weights or those of another network.
    """
    own = network.state_dict()
    states = read_states(path)
    readings = [reading for place, state in states.items() for reading in _readings(place, state, own, without)]
    best = min(readings, key=lambda reading: reading.faults)
    if best.faults:
        raise UserError(
            f"The weights {path} do not belong to {arch}: the file {_difference(best)}; choose `arch` and "
            "`classes_file` to match."
        )
    others = list(dict.fromkeys(reading.place for reading in readings if not reading.faults))[1:]
    if note := _how(best, others):
        _log.info("%s: %s", path, note)
    network.load_state_dict(best.state, strict=False)


def _readings(
    place: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor], without: tuple[str, ...]
) -> Iterator[_Reading]:
    """As it is, and with each prefix that stands before the network's first name."""
    first = next(iter(own), "")
    prefixes = dict.fromkeys(key.removesuffix(first) for key in state if key.endswith("." + first))
    for prefix in ("", *prefixes):
        own_part = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        taken = {_current_name(key, own): value for key, value in own_part.items()}
        left_out = len(state) - len(own_part)
        taken = {key: value for key, value in taken.items() if key.split(".")[0] not in without}
        yield _Reading(
            place,
            prefix,
            taken,
            [key for key in own if key not in taken and not key.endswith(_COUNTER)],
            [key for key in taken if key not in own],
            [
                f"{key} {tuple(value.shape)} instead of {tuple(own[key].shape)}"
                for key, value in taken.items()
                if key in own and value.shape != own[key].shape
            ],
            left_out,
        )


def _current_name(key: str, own: Mapping[str, Tensor]) -> str:
    """The network's own name for a key of torchvision's own files of DenseNet, or of a part that was wrapped alone."""
    if key in own:
        return key
    key = re.sub(r"\.(?:module|_orig_mod)\.", ".", key)
    return key if key in own else re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])", r"\1\2", key)


def _difference(reading: _Reading) -> str:
    """What the file has and the network wants, in words."""
    parts = []
    for title, keys in (
        ("lacks", reading.missing),
        ("has unknown", reading.unexpected),
        ("has another shape for", reading.reshaped),
    ):
        if keys:
            parts.append(f"{title} {listed(keys, _MAX_KEYS_NAMED)} ({counted(len(keys), 'key')})")
    return " and ".join(parts)


def _how(reading: _Reading, others: list[str]) -> str:
    parts = []
    if others:
        parts.append(f"of {reading.place}, {', '.join(others)} in the file, {reading.place} was taken")
    if reading.prefix:
        parts.append(f"{reading.prefix} was taken off the keys")
    if reading.left_out:
        parts.append(f"{counted(reading.left_out, 'key')} without it left out")
    return ", ".join(parts)
