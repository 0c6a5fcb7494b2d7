"""Shards of a run joined to the run that one process would have written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsloc.config import FolderSettings, LocalizeConfig
from wsloc.datasets import Dataset
from wsloc.errors import UserError
from wsloc.files.atomic import place_atomic
from wsloc.runs.choose_folder import open_run_folder
from wsloc.runs.execute_run import Run, parts_of
from wsloc.runs.fitted_refiner import FITTED
from wsloc.runs.kept_pictures import PICTURES
from wsloc.runs.map_store import MAPS
from wsloc.runs.overlays import OVERLAYS
from wsloc.runs.run_folder import PARTS, read_config_text
from wsloc.runs.run_identity import identity_in
from wsloc.runs.shards import Shard, learned_by, open_shards


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
    shards = open_shards(folders, dataset)
    parts = parts_of(dataset, config.output.checkpoint_every)
    for shard in shards:
        _require_whole(shard, len(parts), learns=config.refinement.learns)
    fitted, first = learned_by(shards), shards[0].manifest
    identity = identity_in(first)
    stem = f"{dataset.name}-{first['network']}-merged".replace(":", "-")
    folder = open_run_folder(out, stem, read_config_text(shards[0].path), identity, takes_config=True)
    manifest = {**first, "complete": False, "command": list(command), "shard": None, "timing": _timing(shards)}
    # Of the last process of one shard alone.
    manifest.pop("learning_seconds", None)
    if changed := [shard.manifest["changed_settings"] for shard in shards if "changed_settings" in shard.manifest]:
        manifest["changed_settings"] = changed[-1]
    folder.write_manifest(manifest)
    if fitted is not None:
        place_atomic(fitted, folder.path / FITTED)
    # A part's records come last, as in any run.
    for name in (MAPS, PICTURES, OVERLAYS, PARTS):
        for shard in shards:
            for file in sorted((shard.path / name).rglob("*")):
                if file.is_file() and file.suffix != ".tmp":
                    place_atomic(file, folder.path / file.relative_to(shard.path))
    return Run(folder, manifest, parts, range(len(parts)), folder.written_parts())


def _require_whole(shard: Shard, num_parts: int, *, learns: bool) -> None:
    """Refuse a shard that lacks a part, or has one of another shard."""
    wanted = {f"{number:06d}" for number in shard.parts(num_parts)}
    there = {path.stem for path in (shard.path / PARTS).glob("[0-9]*.jsonl")}
    if learns and not (shard.path / FITTED).exists():
        raise UserError(
            f"{shard.path} has no boxes yet: once all shards have their maps, name them to `wsloc fit-refiner`, then "
            f"{shard.continued}."
        )
    if lacking := wanted - there:
        raise UserError(
            f"{shard.path} is unfinished: {len(lacking)} of its {len(wanted)} parts are missing; {shard.continued}."
        )
    if strange := there - wanted:
        raise UserError(f"{shard.path} holds parts of other shards, such as {min(strange)}; run it again.")


def _timing(shards: Sequence[Shard]) -> dict[str, Any]:
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
