"""Between the two phases of shards with a refiner: it learns from the maps of all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from wsloc.config import LocalizeConfig
from wsloc.datasets import Dataset
from wsloc.errors import UserError
from wsloc.files.atomic import place_atomic
from wsloc.pipeline.localizer import read_stage
from wsloc.progress import Progress, silent
from wsloc.runs.execute_run import parts_of
from wsloc.runs.fitted_refiner import FITTED, metadata_of, save_fitted
from wsloc.runs.learn_over_set import SPOOL, fit_stored, parts_without_maps
from wsloc.runs.run_folder import RunFolder
from wsloc.runs.shards import Shard, learned_by, open_shards
from wsloc.threads import ThreadPlan, available_cores


def fit_shards(
    folders: Sequence[Path], config: LocalizeConfig, dataset: Dataset, progress: Progress = silent
) -> list[Path]:
    """Fit the refiner of a run to the stored maps of all its shards, as one process would, and give it to each shard.

    A shard that was begun anew gets what the others have.

    Args:
        folders: of the shards, in any order.
        config: their settings.
        dataset: what the settings open.
        progress: shows the progress over the images.

    Returns:
        The folders, in the order of the shards.

    Raises:
        UserError: if the shards do not fit each other or the data set, have no refiner to fit, or one is missing,
            there twice, in use, or has not stored all its maps.
    """
    shards = open_shards(folders, dataset)
    if not config.refinement.learns:
        raise UserError(f"{shards[0].path} has no refiner to fit: merge the shards once all are done.")
    with contextlib.ExitStack() as held:
        for shard in shards:
            held.enter_context(RunFolder(shard.path))
        fitted = learned_by(shards) or _fitted(shards, config, dataset, progress)
        for shard in shards:
            if not (shard.path / FITTED).exists():
                place_atomic(fitted, shard.path / FITTED)
    return [shard.path for shard in shards]


def _fitted(shards: Sequence[Shard], config: LocalizeConfig, dataset: Dataset, progress: Progress) -> Path:
    """Learn from the shards in the order of their images, and save it in the first one."""
    name, manifest = config.refinement.refiner, shards[0].manifest
    assert name is not None
    layers, threads = tuple(manifest.get("feature_layers") or ()), manifest["network_threads"]
    parts, stores = parts_of(dataset, config.output.checkpoint_every), []
    for shard in shards:
        own = shard.parts(len(parts))
        if lacking := parts_without_maps(shard.path / SPOOL, own, layers):
            raise UserError(
                f"{shard.path} is unfinished: {len(lacking)} of its {len(own)} parts have no maps yet; "
                f"{shard.continued}."
            )
        stores.append((shard.path / SPOOL, dataset.images[parts[own.start].start : parts[own.stop - 1].stop]))
    # The threads of the shards, for sums over another number round differently.
    plan = ThreadPlan(threads, max(0, available_cores() - threads))
    read, seed = read_stage(config, None), config.compute.seed
    refiner = fit_stored(read, layers, stores, plan, config.refinement, seed, progress)
    return save_fitted(refiner, shards[0].path, metadata_of(name, layers, manifest))
