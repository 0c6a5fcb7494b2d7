"""The first phase of a run with a refiner: all maps are stored, then it learns from them."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from wsloc.config import RefinementSettings
from wsloc.datasets import Dataset
from wsloc.files.part_archive import ArchiveWriter, archive_path
from wsloc.pipeline.engine import Engine
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.refine_stage import Refiner, RefinerKind
from wsloc.pipeline.runner import Runner
from wsloc.progress import Progress, silent
from wsloc.records import ImageRecord
from wsloc.registries import REFINERS
from wsloc.runs.execute_run import Run
from wsloc.runs.fitted_refiner import FITTED, metadata_of, with_fitted
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
) -> Localizer:
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

    Raises:
        UserError: if nothing can be learned from the set.
    """
    start = time.perf_counter()
    folder, spool, name = run.folder.path, run.folder.path / SPOOL, settings.refiner
    assert name is not None
    images = dataset.images
    for _ in progress(store_maps(spool, run.parts, localizer, images, engine), "maps", "image", len(images)):
        pass
    labels = {name for image in images for name in image.labels}
    reasons = {name: why for name in sorted(labels) if (why := localizer.maps.why_no_map(name))}
    maps = StoredMaps(spool, localizer.maps.layers, reasons)
    stored = replace(localizer, read=replace(localizer.read, views=None), maps=maps)
    fitted = folder / FITTED
    if not fitted.exists():
        temporary = fitted.with_name(f"{FITTED}.tmp")
        fit_stored(stored, images, engine.plan, settings, seed).save(temporary, metadata_of(name, localizer))
        temporary.replace(fitted)
    run.manifest["learning_seconds"] = round(time.perf_counter() - start, 3)
    # Loaded also by the process that fitted it, so that a resumed run gives the same bytes.
    return replace(stored, refine=with_fitted(localizer, fitted, name).refine)


def store_maps(
    spool: Path, parts: Sequence[slice], localizer: Localizer, images: Sequence[ImageRecord], engine: Engine
) -> Iterator[None]:
    """Compute and store the maps and features of all parts that are missing; yields once per image."""
    stores = [spool / MAPS, *([spool / FEATURES] if localizer.maps.layers else [])]
    missing = [
        number for number in range(len(parts)) if not all(archive_path(store, number).exists() for store in stores)
    ]
    for number in set(range(len(parts))).difference(missing):
        yield from (None for _ in images[parts[number]])
    of_part = [images[parts[number]] for number in missing]
    with contextlib.closing(engine.maps(localizer, of_part)) as found:
        for number, of_this in zip(missing, of_part, strict=True):
            with contextlib.ExitStack() as stack:
                maps, *features = [stack.enter_context(ArchiveWriter(store, number)) for store in stores]
                for image in itertools.islice(found, len(of_this)):
                    if isinstance(image, ImageMaps):
                        add_maps(maps, image, "float32")
                        for part_features in features:
                            add_features(part_features, image)
                    yield None


def fit_stored(
    stored: Localizer, images: Sequence[ImageRecord], plan: ThreadPlan, settings: RefinementSettings, seed: int
) -> Refiner:
    """Fit a refiner to images whose maps are stored.

    Args:
        stored: the stages, with maps from the store.
        images: what is learned from.
        plan: how the cores are divided; sums over another number of threads round differently.
        settings: the refiner.
        seed: of the run.
    """

    def stream() -> Iterator[ImageMaps]:
        # What fits needs the cores, too, and does not wait for the pool as a stage would.
        with applied(plan) as pool:
            runner = Runner(None if plan.in_turn else pool, stored.window)
            found = stored.maps.compute(runner.run(stored.read, images), runner)
            yield from (image for image in found if isinstance(image, ImageMaps) and image.maps)

    assert settings.refiner is not None
    kind: RefinerKind = REFINERS[settings.refiner]
    with applied(plan):
        return kind.fit(stream, settings, seed)


def discard_spool(folder: Path) -> None:
    """Remove what only the two phases of a run needed."""
    shutil.rmtree(folder / SPOOL, ignore_errors=True)
