"""The first phase of a run with a refiner: all maps are stored, then it learns from them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wsloc.classifiers.preprocessing import MakeViews
from wsloc.classifiers.scorer import scoring_mode
from wsloc.config import RefinementSettings
from wsloc.datasets import Dataset
from wsloc.errors import UserError, one_line
from wsloc.files.part_archive import ArchiveWriter, archive_path
from wsloc.pipeline.features import require_whole_view, watched_features
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.pipeline.refine_stage import RefinerKind, RefineStage
from wsloc.pipeline.runner import Runner
from wsloc.progress import Progress, silent
from wsloc.registries import REFINERS, VIEWS
from wsloc.runs.execute_run import Run
from wsloc.runs.map_store import FEATURES, MAPS, add_features, add_maps
from wsloc.runs.stored_maps import StoredMaps
from wsloc.threads import ThreadPlan, applied

FITTED = "refiner.safetensors"
"""File of a run that holds what its refiner learned."""
ABOUT = "about"
"""Entry of its metadata that says what it was learned from, as JSON."""
SPOOL = "spool"
"""Folder of a run for the maps and features that the refiner learns from; removed when the run is complete."""


def for_refiner(settings: RefinementSettings, localizer: Localizer, num_images: int) -> Localizer:
    """The stages with the features that a refiner reads, and with the refiner itself if it is fitted already.

    Args:
        settings: they name a refiner.
        localizer: the stages without one.
        num_images: of the set.

    Raises:
        UserError: if there is no such refiner, it is of another network, or the set is too small for it.
    """
    assert settings.refiner is not None
    if settings.fitted:
        path = Path(settings.refiner)
        layers = tuple(read_metadata(path)["layers"])
        if settings.feature_layers not in ((), layers):
            raise UserError(f"{path} was learned from the layers {', '.join(layers)}; leave out `feature_layers`.")
        return with_fitted(replace(localizer, maps=replace(localizer.network, layers=layers)), path)
    kind: RefinerKind = REFINERS[settings.refiner]
    if num_images < kind.min_images:
        raise UserError(
            f"{settings.refiner} learns from {kind.min_images} images or more, but there are {num_images}; use "
            "`preset='default'`, or the refiner of a run on more images of the same classes."
        )
    scorer, own = localizer.model.scorer, localizer.model.classifier.preprocessing
    example = torch.zeros(1, own.channels, *own.input_size_hw, device=scorer.device)
    layers = settings.feature_layers or kind.layers(scorer, example)
    _check_features(localizer, layers, example)
    return replace(localizer, maps=replace(localizer.network, layers=layers))


def _check_features(localizer: Localizer, layers: Sequence[str], example: Tensor) -> None:
    """Refuse layers and views that give no features of the whole image, before the first one."""
    scorer, preprocessing = localizer.model.scorer, localizer.model.classifier.preprocessing
    with scoring_mode(scorer.network), torch.no_grad(), watched_features(scorer.network, example, layers) as features:
        scorer.logits(example)
        features()
    assert localizer.read.views is not None
    make_views: MakeViews = VIEWS[localizer.read.views]
    require_whole_view(make_views(np.zeros((64, 96, 3), dtype=np.uint8), preprocessing))


def learn_over_set(
    run: Run,
    localizer: Localizer,
    dataset: Dataset,
    plan: ThreadPlan,
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
        plan: how the cores are divided.
        settings: the refiner, not yet fitted.
        seed: of the run.
        progress: shows the progress over the images.

    Raises:
        UserError: if nothing can be learned from the set.
    """
    start = time.perf_counter()
    folder, spool, name = run.folder.path, run.folder.path / SPOOL, settings.refiner
    assert name is not None
    for _ in progress(_store(run, localizer, dataset, plan), "maps", "image", len(dataset.images)):
        pass
    labels = {name for image in dataset.images for name in image.labels}
    reasons = {name: why for name in sorted(labels) if (why := localizer.maps.why_no_map(name))}
    stored = StoredMaps(spool, localizer.maps.layers, reasons)
    fitted = folder / FITTED
    if not fitted.exists():

        def stream() -> Iterator[ImageMaps]:
            with applied(plan) as pool:
                runner = Runner(pool, localizer.window)
                images = stored.compute(runner.run(replace(localizer.read, views=None), dataset.images), runner)
                yield from (image for image in images if isinstance(image, ImageMaps) and image.maps)

        temporary = fitted.with_name(f"{FITTED}.tmp")
        # The threads of the plan, since sums over another number of threads round differently.
        with applied(plan):
            REFINERS[name].fit(stream, settings, seed).save(temporary, _metadata(name, localizer))
        temporary.replace(fitted)
    run.manifest["learning_seconds"] = round(time.perf_counter() - start, 3)
    # Loaded also by the process that fitted it, so that a resumed run gives the same bytes.
    return replace(with_fitted(localizer, fitted), maps=stored)


def with_fitted(localizer: Localizer, path: Path) -> Localizer:
    """The stages with a refiner that was fitted before.

    Raises:
        UserError: if the file is missing, damaged, or of another network than the maps.
    """
    kept = read_metadata(path)
    own = localizer.maps.identity()
    if kept["network_sha256"] != own["network_sha256"]:
        raise UserError(
            f"{path} was learned from features of {kept['network']}, with other weights than those of "
            f"{own['network']}; give the same network, or fit the refiner again."
        )
    fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(localizer, refine=RefineStage(REFINERS[kept["refiner"]].load(path), fingerprint))


def read_metadata(path: Path) -> dict[str, Any]:
    """What the file of a fitted refiner says about itself: ``refiner``, ``layers``, ``network``, ``network_sha256``.

    Raises:
        UserError: if the file is missing or damaged, or says nothing.
    """
    try:
        with safe_open(path, "np") as file:
            kept = (file.metadata() or {}).get(ABOUT)
    except (OSError, SafetensorError) as error:
        raise UserError(f"The refiner {path} cannot be read: {one_line(error)}.") from error
    about: Any = None
    with contextlib.suppress(ValueError):
        about = json.loads(kept or "")
    if not isinstance(about, dict) or not {"refiner", "layers", "network", "network_sha256"} <= about.keys():
        raise UserError(f"{path} is not a fitted refiner; use the {FITTED} of a run with `refiner`.")
    return about


def _metadata(name: str, localizer: Localizer) -> dict[str, str]:
    own = localizer.maps.identity()
    about = {"refiner": name, "layers": list(localizer.maps.layers)}
    # One entry alone: safetensors writes several in random order.
    return {ABOUT: json.dumps(about | {key: own[key] for key in ("network", "network_sha256")})}


def _store(run: Run, localizer: Localizer, dataset: Dataset, plan: ThreadPlan) -> Iterator[None]:
    """Compute and store the maps of all parts that are missing; yields once per image."""
    spool, layers = run.folder.path / SPOOL, localizer.maps.layers
    with applied(plan) as pool:
        runner = Runner(pool, localizer.window)
        for number, part in enumerate(run.parts):
            images = dataset.images[part]
            wanted = [spool / MAPS, *([spool / FEATURES] if layers else [])]
            if all(archive_path(store, number).exists() for store in wanted):
                yield from (None for _ in images)
                continue
            with contextlib.ExitStack() as stack:
                maps, *features = [stack.enter_context(ArchiveWriter(store, number)) for store in wanted]
                for image in localizer.compute_maps(images, runner):
                    if isinstance(image, ImageMaps):
                        add_maps(maps, image, "float32")
                        for part_features in features:
                            add_features(part_features, image)
                    yield None


def discard_spool(folder: Path) -> None:
    """Remove what only the two phases of a run needed."""
    shutil.rmtree(folder / SPOOL, ignore_errors=True)
