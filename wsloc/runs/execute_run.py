"""One run: a data set and a configuration in, a run folder out."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wsloc.config import MapKind, OutputSettings
from wsloc.datasets import Dataset
from wsloc.errors import UserError, counted
from wsloc.files.part_archive import ArchiveWriter
from wsloc.machine_settings import MachineSettings
from wsloc.pipeline.engine import Engine, Kept
from wsloc.pipeline.localizer import Localizer
from wsloc.pipeline.results import ImageResult
from wsloc.records import Pair
from wsloc.runs.choose_folder import open_run_folder
from wsloc.runs.kept_pictures import PICTURES, add_pictures, choose_pictured
from wsloc.runs.map_store import MAPS, add_maps, check_map_kind, write_wsol_maps
from wsloc.runs.overlays import OVERLAYS, write_overlays
from wsloc.runs.run_folder import SCHEMA_VERSION, RunFolder, read_manifest
from wsloc.runs.run_identity import identity_of
from wsloc.threads import ThreadPlan
from wsloc.versions import package_versions, source_commit

_PACKAGES = ("wsloc", "torch", "torchvision", "numpy", "opencv-python", "pillow", "scikit-image")


@dataclass(slots=True, eq=False)
class Run:
    """A run that was started or resumed, and is not yet finished.

    Attributes:
        folder: held by this process.
        manifest: as written so far.
        parts: the images of each part.
        own: numbers of the parts that this run computes: all, or those of its shard.
        done: numbers of the parts that were already written when the run was opened.
    """

    folder: RunFolder
    manifest: dict[str, Any]
    parts: tuple[slice, ...]
    own: range
    done: frozenset[int]

    @property
    def missing(self) -> list[int]:
        """Numbers of the parts that are still to be computed, in order."""
        return [number for number in self.own if number not in self.done]


def open_run(
    settings: OutputSettings,
    config_yaml: str,
    dataset: Dataset,
    localizer: Localizer,
    plan: ThreadPlan,
    command: Sequence[str],
    machines: MachineSettings,
) -> Run:
    """Make a run folder, or take over an unfinished one.

    Args:
        settings: which folder, and whether it may exist.
        config_yaml: the resolved configuration.
        dataset: the images to localize.
        localizer: the stages.
        plan: how the cores are divided.
        command: the words of the command line, for the manifest.
        machines: which share of the images is to be done.

    Raises:
        UserError: if the folder cannot be used, or was started with other images or another network.
    """
    check_map_kind(settings.save_maps, dataset)
    parts = parts_of(dataset, settings.checkpoint_every)
    own = _own_parts(len(parts), settings.checkpoint_every, machines)
    identity = {**identity_of(dataset, localizer, plan), "shard": machines.shard}
    folder = open_run_folder(
        settings,
        f"{dataset.name}-{identity['network']}-{localizer.cut.method}".replace(":", "-"),
        config_yaml,
        identity,
        takes_config=True,
    )
    earlier = read_manifest(folder.path) or {}
    manifest: dict[str, Any] = {
        # What only a process that computes something can tell.
        **{key: earlier[key] for key in ("timing", "changed_settings") if key in earlier},
        "schema_version": SCHEMA_VERSION,
        "complete": False,
        "command": list(command),
        **identity,
        "versions": package_versions(_PACKAGES),
        "commit": source_commit(),
        "platform": sys.platform,
        "images": len(dataset.images),
        "without_substitute": localizer.maps.without_substitute(),
        "ranked_classes": localizer.maps.ranked_classes(),
        "data": _needed_by_exports(dataset),
        **(
            {"maps": {"kind": settings.save_maps, "exact": settings.save_maps == "float32"}}
            if settings.save_maps
            else {}
        ),
    }
    folder.write_manifest(manifest)
    return Run(folder, manifest, parts, own, folder.written_parts())


def _own_parts(count: int, size: int, machines: MachineSettings) -> range:
    number, shards = machines.numbered_shard
    if shards > count:
        raise UserError(
            f"The run has {counted(count, 'part')} of {size} images, too few for `shard={machines.shard!r}`; give "
            "fewer shares, or a smaller `checkpoint_every` to all of them."
        )
    return parts_of_shard(count, number, shards)


def _needed_by_exports(dataset: Dataset) -> dict[str, Any]:
    """What an export needs of the data set, so that it need not be opened for that."""
    return {
        "root": str(dataset.root.absolute()),
        "class_names": list(dataset.class_names),
        "category_ids": None if dataset.category_ids is None else list(dataset.category_ids),
    }


def parts_of(dataset: Dataset, size: int) -> tuple[slice, ...]:
    """The images of each part of a run, by number; the last part may be smaller."""
    return tuple(slice(start, start + size) for start in range(0, len(dataset.images), size))


def parts_of_shard(count: int, number: int, shards: int) -> range:
    """The numbers of the parts that are a shard's share: neighbors, and of two shards one more at most."""
    return range((number - 1) * count // shards, number * count // shards)


def execute(
    run: Run,
    localizer: Localizer,
    dataset: Dataset,
    engine: Engine,
    *,
    keep_maps: MapKind | None = None,
    overlays: int = 0,
) -> Iterator[ImageResult]:
    """Localize what is missing; a part is written when its last image is done.

    Args:
        run: as opened; its manifest gets the timing.
        localizer: the stages.
        dataset: the images to localize.
        engine: runs the stages.
        keep_maps: how the maps are kept; None for not at all.
        overlays: how many images get overlays.

    Yields:
        The results of the images that this process computed, in order.
    """
    start, pictured = time.perf_counter(), choose_pictured(dataset.images)
    parts = [dataset.images[run.parts[number]] for number in run.missing]
    own, there = (sum(len(dataset.images[run.parts[number]]) for number in some) for some in (run.own, run.done))
    drawn = frozenset(image.image_id for image in dataset.images[:overlays])
    kept = Kept(keep_maps is not None, drawn | {image_id for image_id, _ in pictured})
    with contextlib.closing(engine.results(localizer, parts, kept)) as results:
        for number, images in zip(run.missing, parts, strict=True):
            records = []
            with _PartFiles(run.folder.path, number, keep_maps) as files:
                for result in itertools.islice(results, len(images)):
                    if result.image.image_id in drawn:
                        write_overlays(run.folder.path / OVERLAYS, result)
                    files.keep(result, pictured)
                    records.append(_records_alone(result))
                    yield result
            run.folder.write_part(number, records)
            there += len(images)
            run.folder.say_contents(f"the results of {there:,} of {counted(own, 'image')}")
    if changes := localizer.maps.changes():
        run.manifest["changed_settings"] = changes
    if not parts and "timing" in run.manifest:
        return  # A finished share that is resumed.
    run.manifest["timing"] = {
        "images": sum(map(len, parts)),
        "wall_seconds": round(time.perf_counter() - start, 3),
        "stage_seconds": {stage: round(seconds, 3) for stage, seconds in engine.seconds.items()},
        "threads": asdict(engine.plan),
    }


class _PartFiles:
    """What a part keeps besides its records: maps and pictures, complete before the records are."""

    def __init__(self, folder: Path, number: int, kind: MapKind | None) -> None:
        self._folder, self._kind, self._stack = folder, kind, contextlib.ExitStack()
        archive = kind in ("float32", "float16")
        self._maps = ArchiveWriter(folder / MAPS, number) if archive else None
        self._pictures = ArchiveWriter(folder / PICTURES, number)

    def __enter__(self) -> _PartFiles:
        self._stack.enter_context(self._pictures)
        if self._maps is not None:
            self._stack.enter_context(self._maps)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def keep(self, result: ImageResult, chosen: frozenset[Pair]) -> None:
        """Write the maps of an image, and the pictures of the chosen items."""
        if result.maps is not None:
            if self._maps is not None and self._kind is not None:
                add_maps(self._maps, result.maps, self._kind)
            elif self._kind == "wsol":
                write_wsol_maps(self._folder / MAPS, result.maps)
        add_pictures(self._pictures, result, chosen)


def finish(run: Run, found: Mapping[str, Any]) -> None:
    """Join the parts and declare the run complete, with what was found in the manifest."""
    run.folder.join()
    run.folder.finish({**run.manifest, **found})


def _records_alone(result: ImageResult) -> ImageResult:
    """A part of results must not hold the arrays of all its images."""
    return replace(result, items=tuple(replace(item, trace=None) for item in result.items), maps=None)
