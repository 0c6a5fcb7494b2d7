"""One run: a data set and a configuration in, a run folder out."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from wsloc.classifiers.weights_hash import weights_hash
from wsloc.config import OutputSettings
from wsloc.datasets import Dataset
from wsloc.devices import device_name
from wsloc.pipeline.engine import localize
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.results import ImageResult, StageSeconds
from wsloc.pipeline.threads import ThreadPlan, applied
from wsloc.runs.choose_folder import open_run_folder
from wsloc.runs.overlays import write_overlays
from wsloc.runs.run_folder import SCHEMA_VERSION, RunFolder
from wsloc.runs.saved_maps import MAPS, check_map_kind, save_maps

_PACKAGES = ("wsloc", "torch", "torchvision", "numpy", "opencv-python", "pillow", "scikit-image")


@dataclass(slots=True, eq=False)
class Run:
    """A run that was begun, or taken up again, and not yet finished.

    Attributes:
        folder: held by this process.
        manifest: as written so far.
        resumed: whether the folder holds results of an earlier process.
        parts: the images of each part.
        done: numbers of the parts that were already written when the run was opened.
    """

    folder: RunFolder
    manifest: dict[str, Any]
    resumed: bool
    parts: tuple[slice, ...]
    done: frozenset[int]


def open_run(
    settings: OutputSettings,
    config_yaml: str,
    dataset: Dataset,
    localizer: Localizer,
    plan: ThreadPlan,
    command: Sequence[str],
) -> Run:
    """Make a run folder, or take hold of an unfinished one.

    Args:
        settings: which folder, and whether it may exist.
        config_yaml: the resolved configuration.
        dataset: the images to localize.
        localizer: the classifier and the settings.
        plan: how the cores are divided.
        command: the words of the command line, for the manifest.

    Raises:
        UserError: if the folder cannot be used, or was begun with other images or another network.
    """
    check_map_kind(settings.save_maps, dataset)
    # What changes a result, beside the configuration.
    identity = {
        "dataset_fingerprint": dataset.fingerprint(),
        "network_sha256": weights_hash(localizer.scorer.network),
        "device": device_name(localizer.scorer.device),
        "network_threads": plan.network,
    }
    size = settings.checkpoint_every
    parts = tuple(slice(start, start + size) for start in range(0, len(dataset.images), size))
    stem = f"{dataset.name}-{localizer.classifier_name}-{localizer.method_name}"
    folder, resumed = open_run_folder(
        settings.out,
        stem,
        config_yaml,
        resume=settings.resume,
        overwrite=settings.overwrite,
        identity=identity,
        takes_config=True,
    )
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "complete": False,
        "command": list(command),
        **identity,
        **_environment(),
        "images": len(dataset.images),
        # What an export needs of the data set, so that it need not be opened for that.
        "data": {
            "root": str(dataset.root.absolute()),
            "class_names": list(dataset.class_names),
            "category_ids": None if dataset.category_ids is None else list(dataset.category_ids),
        },
        **(
            {"maps": {"kind": settings.save_maps, "exact": settings.save_maps == "float32"}}
            if settings.save_maps
            else {}
        ),
    }
    folder.write_manifest(manifest)
    return Run(folder, manifest, resumed, parts, folder.written_parts())


def execute(
    run: Run, localizer: Localizer, dataset: Dataset, plan: ThreadPlan, settings: OutputSettings
) -> Iterator[ImageResult]:
    """Localize what is missing, part by part; a part is written when its last image is done.

    A part is finished before the next is begun, so that a killed run loses one part at most.

    Args:
        run: as opened; its manifest gets the timing.
        localizer: the classifier and the settings.
        dataset: the images to localize.
        plan: how the cores are divided.
        settings: how many images get pictures, and whether the maps are kept.

    Yields:
        The results of the images that this process computed, in order.
    """
    start = time.perf_counter()
    seconds, computed = StageSeconds(), 0
    with applied(plan) as pool:
        for number, part in enumerate(run.parts):
            if number in run.done:
                continue
            results = []
            images = dataset.images[part]
            for place, result in enumerate(localize(localizer, images, pool), start=part.start):
                if place < settings.overlays:
                    write_overlays(run.folder.path / "overlays", result)
                if settings.save_maps:
                    save_maps(run.folder.path / MAPS, result, settings.save_maps)
                results.append(_without_traces(result))
                seconds, computed = seconds + result.seconds, computed + 1
                yield result
            run.folder.write_part(number, results)
    run.folder.join()
    run.manifest["timing"] = {
        "images": computed,
        "wall_seconds": round(time.perf_counter() - start, 3),
        "stage_seconds": {stage: round(value, 3) for stage, value in asdict(seconds).items()},
        "threads": asdict(plan),
    }


def finish(run: Run, counts: Mapping[str, int]) -> None:
    """Declare the run complete, with its counts in the manifest."""
    run.folder.finish({**run.manifest, "counts": dict(counts)})


def _without_traces(result: ImageResult) -> ImageResult:
    """The records alone: a part of results must not hold the arrays of all its images."""
    return replace(result, items=tuple(replace(item, trace=None) for item in result.items))


def _environment() -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {"versions": versions, "commit": _commit(), "platform": sys.platform}


def _commit() -> str | None:
    """The commit of the checkout that the package lies in; None for an installed package."""
    package = Path(__file__).resolve().parents[1]
    if not (package.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(package), "rev-parse", "--verify", "-q", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() or None
