"""The first phase of a run with a refiner: all maps are stored, then it learns from them.

A shard stops in between, until :mod:`wsloc.runs.fit_shards` has learned from the maps of all shards.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wsloc.config import RefinementSettings
from wsloc.datasets import Dataset
from wsloc.files.part_archive import ArchiveWriter, archive_path
from wsloc.pipeline.engine import Engine
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.read_stage import ReadStage
from wsloc.pipeline.refine_stage import Refiner, RefinerKind
from wsloc.pipeline.runner import Runner
from wsloc.pipeline.stage import Failed
from wsloc.progress import Progress, silent
from wsloc.records import ImageRecord
from wsloc.registries import REFINERS
from wsloc.runs.execute_run import Run
from wsloc.runs.fitted_refiner import FITTED, metadata_of, save_fitted, with_fitted
from wsloc.runs.map_store import FEATURES, MAPS, add_features, add_maps
from wsloc.runs.stored_maps import StoredMaps
from wsloc.threads import ThreadPlan, applied

SPOOL = "spool"
"""Folder of a run for the maps and features that the refiner learns from; removed when the run is complete."""


def learn_over_set(
    run: Run,
    localizer: Localizer,
    dataset: Dataset,
    engine: Engine,
    settings: RefinementSettings,
    *,
    seed: int,
    progress: Progress = silent,
) -> Localizer | None:
    """The stages with maps from the store and a fitted refiner.

    Both phases resume: a stored part is not computed again, and a fitted refiner is loaded.

    Args:
        run: as opened; its manifest gets the seconds.
        localizer: the stages that ask the network, for features of the refiner's layers, too.
        dataset: the images.
        engine: runs the stages.
        settings: the refiner, not yet fitted.
        seed: of the run.
        progress: shows the progress over the images.

    Returns:
        None if the run is a shard whose maps are all stored, and nothing was learned from all shards yet.

    Raises:
        UserError: if nothing can be learned from the set.
    """
    start = time.perf_counter()
    folder, spool, name = run.folder.path, run.folder.path / SPOOL, settings.refiner
    assert name is not None
    images, layers = dataset.images, localizer.maps.layers
    parts = {number: images[run.parts[number]] for number in run.own}
    for _ in progress(store_maps(spool, parts, localizer, engine), "maps", "image", sum(map(len, parts.values()))):
        pass
    labels = {name for image in images for name in image.labels}
    reasons = {name: why for name in sorted(labels) if (why := localizer.maps.why_no_map(name))}
    read = replace(localizer.read, views=None)
    fitted = folder / FITTED
    if not fitted.exists():
        if run.manifest["shard"] is not None:
            return None
        refiner = fit_stored(read, layers, [(spool, images)], engine.plan, settings, seed, progress)
        save_fitted(refiner, folder, metadata_of(name, layers, localizer.maps.identity()))
    run.manifest["learning_seconds"] = round(time.perf_counter() - start, 3)
    # Loaded also by the process that fitted it, so that a resumed run gives the same bytes.
    refine = with_fitted(localizer, fitted, name).refine
    return replace(localizer, read=read, maps=StoredMaps(spool, layers, reasons), refine=refine)


def store_maps(
    spool: Path, parts: Mapping[int, Sequence[ImageRecord]], localizer: Localizer, engine: Engine
) -> Iterator[None]:
    """Compute and store the maps and features of all parts that are missing; yields once per image.

    Args:
        spool: the store.
        parts: images by the number of their part.
        localizer: the stages that ask the network.
        engine: runs them.
    """
    missing = parts_without_maps(spool, parts, localizer.maps.layers)
    for number in set(parts).difference(missing):
        yield from (None for _ in parts[number])
    with contextlib.closing(engine.maps(localizer, [parts[number] for number in missing])) as found:
        for number in missing:
            with contextlib.ExitStack() as stack:
                stores = _stores(spool, localizer.maps.layers)
                maps, *features = [stack.enter_context(ArchiveWriter(store, number)) for store in stores]
                for image in itertools.islice(found, len(parts[number])):
                    if isinstance(image, ImageMaps):
                        add_maps(maps, image, "float32")
                        for part_features in features:
                            add_features(part_features, image)
                    yield None


def parts_without_maps(spool: Path, numbers: Iterable[int], layers: Sequence[str]) -> list[int]:
    """The numbers of the parts whose maps, and features of layers, are not all stored."""
    stores = _stores(spool, layers)
    return [number for number in numbers if not all(archive_path(store, number).exists() for store in stores)]


def _stores(spool: Path, layers: Sequence[str]) -> list[Path]:
    return [spool / MAPS, *([spool / FEATURES] if layers else [])]


def fit_stored(
    read: ReadStage,
    layers: tuple[str, ...],
    stores: Sequence[tuple[Path, Sequence[ImageRecord]]],
    plan: ThreadPlan,
    settings: RefinementSettings,
    seed: int,
    progress: Progress = silent,
) -> Refiner:
    """Fit a refiner to images whose maps are stored.

    Args:
        read: the first stage, which makes no views.
        layers: whose features are stored.
        stores: each with its images; together, what is learned from, in the order of the set.
        plan: how the cores are divided; sums over another number of threads round differently.
        settings: the refiner.
        seed: of the run.
        progress: shows the progress over the images, once for each time that they are gone through.
    """
    count = sum(len(images) for _, images in stores)

    def stream() -> Iterator[ImageMaps]:
        for image in progress(read_all(), "learning", "image", count):
            if isinstance(image, ImageMaps) and image.maps:
                yield image

    def read_all() -> Iterator[ImageMaps | Failed]:
        # What fits needs the cores, too, and does not wait for the pool as a stage would.
        with applied(plan) as pool:
            runner = Runner(None if plan.in_turn else pool)
            for spool, images in stores:
                # Opened anew in each pass, so that only one of many stores has open files.
                yield from StoredMaps(spool, layers).compute(runner.run(read, images), runner)

    assert settings.refiner is not None
    kind: RefinerKind = REFINERS[settings.refiner]
    with applied(plan):
        return kind.fit(stream, settings, seed)


def discard_spool(folder: Path) -> None:
    """Remove what only the two phases of a run needed."""
    shutil.rmtree(folder / SPOOL, ignore_errors=True)
