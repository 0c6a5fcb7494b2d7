"""Shards of a run joined to the run that one process would have written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsloc.config import FolderSettings, LocalizeConfig
from wsloc.datasets import Dataset
from wsloc.errors import UserError, listed
from wsloc.files.atomic import place_atomic
from wsloc.runs.choose_folder import difference, open_run_folder
from wsloc.runs.execute_run import Run, parts_of, parts_of_shard
from wsloc.runs.kept_pictures import PICTURES
from wsloc.runs.map_store import MAPS
from wsloc.runs.overlays import OVERLAYS
from wsloc.runs.read_run import read_run_manifest
from wsloc.runs.run_folder import PARTS, read_config_text

_IDENTITY = (
    "dataset_fingerprint",
    "network",
    "network_sha256",
    "refiner_sha256",
    "device",
    "network_threads",
    "batch_size",
)
"""What changes a result besides the settings; see :func:`wsloc.runs.execute_run.open_run`."""


@dataclass(frozen=True, slots=True)
class _Shard:
    """A shard's folder, its manifest, its number from 1, and how many shards there are."""

    path: Path
    manifest: dict[str, Any]
    number: int
    count: int


def merge_shards(
    folders: Sequence[Path],
    config: LocalizeConfig,
    dataset: Dataset,
    out: FolderSettings,
    command: Sequence[str],
) -> Run:
    """Make a run folder of the parts, maps, and pictures of all shards; what one process would write of them is left.

    Files are linked where the file system can, else copied; the shards stay as they are.

    Args:
        folders: of the shards, in any order.
        config: their settings.
        dataset: what the settings open.
        out: the folder of the run.
        command: the words of the command line, for the manifest.

    Raises:
        UserError: if the shards do not fit each other or the data set, one is missing, unfinished, or there twice, or
            the folder cannot be used.
    """
    shards = _fitting([_opened(folder) for folder in folders])
    first = shards[0].manifest
    if dataset.fingerprint() != first["dataset_fingerprint"]:
        raise UserError(f"{dataset.root} holds other images or labels than when {shards[0].path} was begun.")
    parts = parts_of(dataset, config.output.checkpoint_every)
    for shard in shards:
        _require_whole(shard, len(parts))
    identity = {key: first[key] for key in _IDENTITY if key in first}
    stem = f"{dataset.name}-{first['network']}-merged".replace(":", "-")
    folder = open_run_folder(out, stem, read_config_text(shards[0].path), identity, takes_config=True)
    manifest = {**first, "complete": False, "command": list(command), "shard": None, "timing": _timing(shards)}
    if changed := [shard.manifest["changed_settings"] for shard in shards if "changed_settings" in shard.manifest]:
        manifest["changed_settings"] = changed[-1]
    folder.write_manifest(manifest)
    # A part's records come last, as in any run.
    for name in (MAPS, PICTURES, OVERLAYS, PARTS):
        for shard in shards:
            for file in sorted((shard.path / name).rglob("*")):
                if file.is_file() and file.suffix != ".tmp":
                    place_atomic(file, folder.path / file.relative_to(shard.path))
    return Run(folder, manifest, parts, range(len(parts)), folder.written_parts())


def _opened(folder: Path) -> _Shard:
    manifest = read_run_manifest(folder)
    number, _, count = str(manifest.get("shard") or "").partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise UserError(f"{folder} is no shard: it was made without `shard`.")
    return _Shard(folder, manifest, int(number), int(count))


def _fitting(shards: Sequence[_Shard]) -> list[_Shard]:
    """The shards in their order, if they are all of one run."""
    first = shards[0]
    for other in shards[1:]:
        if other.count != first.count:
            raise UserError(f"{first.path} is one of {first.count} shards, {other.path} one of {other.count}.")
        ours, theirs = read_config_text(first.path), read_config_text(other.path)
        if ours != theirs:
            raise UserError(
                f"{first.path} and {other.path} have other configurations: {difference(ours, theirs)}; run one of them "
                "again."
            )
        if changed := [key for key in _IDENTITY if first.manifest.get(key) != other.manifest.get(key)]:
            what = changed[0].removesuffix("_sha256").replace("_", " ")
            raise UserError(f"{first.path} and {other.path} differ in their {what}; run one of them again.")
    times = Counter(shard.number for shard in shards)
    twice = [str(shard.path) for shard in shards if times[shard.number] > 1]
    if twice:
        raise UserError(f"{listed(twice, 3)} are the same shard; give each shard once.")
    missing = [f"{number}/{first.count}" for number in range(1, first.count + 1) if number not in times]
    if missing:
        raise UserError(f"Give the folders of all {first.count} shards; missing: {listed(missing, 10)}.")
    return sorted(shards, key=lambda shard: shard.number)


def _require_whole(shard: _Shard, num_parts: int) -> None:
    """Refuse a shard that lacks a part, or has one of another shard."""
    wanted = {f"{number:06d}" for number in parts_of_shard(num_parts, shard.number, shard.count)}
    there = {path.stem for path in (shard.path / PARTS).glob("[0-9]*.jsonl")}
    if lacking := wanted - there:
        raise UserError(
            f"{shard.path} is unfinished: {len(lacking)} of its {len(wanted)} parts are missing; continue it with "
            f"`shard='{shard.number}/{shard.count}'` and `resume=True`."
        )
    if strange := there - wanted:
        raise UserError(f"{shard.path} holds parts of other shards, such as {min(strange)}; run it again.")


def _timing(shards: Sequence[_Shard]) -> dict[str, Any]:
    """The work of all shards added up, as if one had done it after the other."""
    timings: list[Mapping[str, Any]] = [shard.manifest.get("timing") or {} for shard in shards]
    stages: Counter[str] = Counter()
    for timing in timings:
        stages.update(timing.get("stage_seconds") or {})
    return {
        "images": sum(timing.get("images") or 0 for timing in timings),
        "wall_seconds": round(sum(timing.get("wall_seconds") or 0 for timing in timings), 3),
        "stage_seconds": {stage: round(seconds, 3) for stage, seconds in stages.items()},
        "threads": timings[0].get("threads"),
    }
