"""The shards of a run: whether they are all there, and belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsloc.datasets import Dataset
from wsloc.errors import UserError, listed
from wsloc.runs.choose_folder import difference
from wsloc.runs.execute_run import parts_of_shard
from wsloc.runs.fitted_refiner import FITTED
from wsloc.runs.read_run import read_run_manifest
from wsloc.runs.run_folder import read_config_text
from wsloc.runs.run_identity import first_difference, identity_in


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard's folder, its manifest, its number from 1, and how many shards there are."""

    path: Path
    manifest: dict[str, Any]
    number: int
    count: int

    def parts(self, num_parts: int) -> range:
        """The numbers of its parts, of so many in the run."""
        return parts_of_shard(num_parts, self.number, self.count)

    @property
    def continued(self) -> str:
        """How a sentence says what continues it."""
        return f"continue it with `shard='{self.number}/{self.count}'` and `resume=True`"


def open_shards(folders: Sequence[Path], dataset: Dataset) -> list[Shard]:
    """All shards of one run, in their order, whether they are finished or not.

    Args:
        folders: of the shards, in any order.
        dataset: what their settings open.

    Raises:
        UserError: if the shards do not fit each other or the data set, or one is missing or there twice.
    """
    shards = [_opened(folder) for folder in folders]
    for other in shards[1:]:
        _require_alike(shards[0], other)
    first, times = shards[0], Counter(shard.number for shard in shards)
    if twice := [str(shard.path) for shard in shards if times[shard.number] > 1]:
        raise UserError(f"{listed(twice, 3)} are the same shard; give each shard once.")
    if missing := [f"{number}/{first.count}" for number in range(1, first.count + 1) if number not in times]:
        raise UserError(f"Give the folders of all {first.count} shards; missing: {listed(missing, 10)}.")
    shards.sort(key=lambda shard: shard.number)
    if dataset.fingerprint() != first.manifest["dataset_fingerprint"]:
        raise UserError(f"{dataset.root} holds other images or labels than when {shards[0].path} was begun.")
    return shards


def _opened(folder: Path) -> Shard:
    manifest = read_run_manifest(folder)
    number, _, count = str(manifest.get("shard") or "").partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise UserError(f"{folder} is no shard: it was made without `shard`.")
    return Shard(folder, manifest, int(number), int(count))


def _require_alike(first: Shard, other: Shard) -> None:
    if other.count != first.count:
        raise UserError(f"{first.path} is one of {first.count} shards, {other.path} one of {other.count}.")
    ours, theirs = read_config_text(first.path), read_config_text(other.path)
    if ours != theirs:
        raise UserError(
            f"{first.path} and {other.path} have other configurations: {difference(ours, theirs)}; run one of them "
            "again."
        )
    if (what := first_difference(identity_in(first.manifest), other.manifest)) is not None:
        raise UserError(f"{first.path} and {other.path} differ in their {what}; run one of them again.")


def learned_by(shards: Sequence[Shard]) -> Path | None:
    """The file of what was learned over all shards, in one of them; None if none has it.

    Raises:
        UserError: if they have different ones.
    """
    files = [path for shard in shards if (path := shard.path / FITTED).exists()]
    for other in files[1:]:
        if other.read_bytes() != files[0].read_bytes():
            raise UserError(
                f"{files[0]} and {other} were learned from different shards; run those again whose file is not of "
                "these shards."
            )
    return files[0] if files else None
