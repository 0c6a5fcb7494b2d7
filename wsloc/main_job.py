"""The main job: a configuration in; a run folder with boxes, metrics and, if asked for, a report out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from wsloc.classifiers import Classifier
from wsloc.config import DataSettings, FolderSettings, LocalizeConfig
from wsloc.config_files import preset_is_used, settings_of_run, to_yaml
from wsloc.datasets import Dataset, asked_classes, open_dataset, require_images
from wsloc.devices import choose_device
from wsloc.errors import UserError
from wsloc.judging.judged_run import JudgedRun, judge_run
from wsloc.judging.run_summary import RunSummary, summarize_run, write_summary
from wsloc.pipeline import Localizer, make_localizer
from wsloc.pipeline.engine import Engine, LocalEngine
from wsloc.pipeline.ray_engine import RayEngine
from wsloc.progress import Progress, silent
from wsloc.runs.execute_run import Run, execute, finish, open_run
from wsloc.runs.fit_shards import fit_shards
from wsloc.runs.fitted_refiner import for_refiner
from wsloc.runs.learn_over_set import discard_spool, learn_over_set
from wsloc.runs.merge_shards import merge_shards
from wsloc.runs.read_run import read_run, read_run_manifest
from wsloc.runs.stored_maps import make_recutter
from wsloc.threads import plan_threads


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """A main job that has opened everything it needs and not yet localized an image."""

    config: LocalizeConfig
    dataset: Dataset
    localizer: Localizer
    engine: Engine
    run: Run


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The result of a main job.

    Attributes:
        dataset: its images; of a shard, those of its share.
        judged: the run as judged.
        summary: the same in short.
        waits: whether it is a shard that has no boxes until all shards were learned from.
    """

    dataset: Dataset
    judged: JudgedRun
    summary: RunSummary
    waits: bool = False


def begin(config: LocalizeConfig, command: Sequence[str] = (), classifier: Classifier | None = None) -> Begun:
    """Open data set, classifier and run folder.

    Args:
        config: all settings.
        command: the words of the command line, for the manifest.
        classifier: your own; None to load what the configuration names.

    Raises:
        UserError: if anything is wrong with any of them.
    """
    if not preset_is_used(config):
        raise UserError(
            f"`preset={config.preset!r}` is overridden by other settings; leave out `config`, or in Python make the "
            "configuration with wsloc.make_config."
        )
    dataset = open_dataset(config.data)
    require_images(dataset)
    _check_shard(config)
    localizer = _stages(config, dataset, classifier)
    engine = _engine(config, localizer)
    run = open_run(config.output, to_yaml(config), dataset, localizer, engine.plan, command, config.machines)
    return Begun(config, dataset, localizer, engine, run)


def _check_shard(config: LocalizeConfig) -> None:
    """Refuse what only the whole run can do."""
    output = config.output
    if config.machines.shard is None:
        return
    if output.out is None:
        raise UserError("`shard` needs `out`, a folder of its own for each share.")
    if output.report or output.export:
        raise UserError("`report` and `export` are of a whole run: leave them out, and use them on the merged run.")


def _stages(config: LocalizeConfig, dataset: Dataset, classifier: Classifier | None) -> Localizer:
    if config.saliency.maps is not None:
        if config.refinement.refiner is not None:
            raise UserError("`maps` and `refiner` exclude each other: a refiner needs the network's features.")
        return make_recutter(config, config.saliency.maps)
    localizer = make_localizer(config, asked_classes(config.data, dataset), classifier)
    if config.refinement.refiner is None:
        return localizer
    return for_refiner(config.refinement, localizer, len(dataset.images))


def _engine(config: LocalizeConfig, localizer: Localizer) -> Engine:
    """What runs the stages."""
    device = choose_device(config.compute.device) if localizer.asks_network else None
    plan = plan_threads(device, config.compute.workers)
    machines = config.machines
    if machines.engine == "local":
        return LocalEngine(plan)
    return RayEngine(plan, device is not None and device.type == "cuda", machines.ray_address, machines.ray_timeout)


def _with_refiner(begun: Begun, progress: Progress) -> Localizer | None:
    """The stages; with a refiner, once it has learned over the set; None if that waits for other shards."""
    settings, run, seed = begun.config.refinement, begun.run, begun.config.compute.seed
    if not settings.learns or not run.missing:
        return begun.localizer
    return learn_over_set(run, begun.localizer, begun.dataset, begun.engine, settings, seed=seed, progress=progress)


def conclude(run: Run, settings: DataSettings, dataset: Dataset) -> Finished:
    """Judge a run whose images are all done, write its metrics, and declare it complete."""
    run.folder.say_contents("the boxes of all images, without metrics")
    # All its images are done; what the manifest still lacks are the counts that come of this.
    contents = replace(read_run(run.folder.path), complete=True)
    judged = judge_run(contents, settings, dataset)
    summary = write_summary(judged, dataset)
    discard_spool(run.folder.path)
    finish(run, {"counts": summary.counts, "label_ranks": summary.ranks and asdict(summary.ranks)})
    # The manifest is whole by now.
    contents = replace(contents, manifest=read_run_manifest(run.folder.path))
    return Finished(dataset, replace(judged, contents=contents), summary)


def fit_refiner(shards: Sequence[Path], root: Path | None = None, progress: Progress = silent) -> list[Path]:
    """Learn from the stored maps of all shards of a run, as one process would, and give each what was learned.

    Args:
        shards: their folders.
        root: folder of the data set, if it has moved.
        progress: shows the progress over the images.

    Returns:
        The folders, in the order of the shards.

    Raises:
        UserError: if the shards do not make a whole, have nothing to learn from, or the data set cannot be opened.
    """
    config = settings_of_run(shards[0], root=root)
    return fit_shards(shards, config, open_dataset(config.data), progress)


def merge_runs(
    shards: Sequence[Path],
    out: FolderSettings,
    root: Path | None = None,
    command: Sequence[str] = (),
    announce: Callable[[Path], None] = lambda _folder: None,
) -> Finished:
    """Join the shards of a run to the run that one process would have written, and judge it.

    Args:
        shards: their folders.
        out: the folder of the run.
        root: folder of the data set, if it has moved.
        command: the words of the command line, for the manifest.
        announce: called with the folder once it holds what the shards hold.

    Raises:
        UserError: if the shards do not make a whole, or anything is wrong with the data set or the folder.
    """
    config = settings_of_run(shards[0], root=root)
    dataset = open_dataset(config.data)
    run = merge_shards(shards, config, dataset, out, command)
    with run.folder:
        announce(run.folder.path)
        return conclude(run, config.data, dataset)


def _conclude_shard(run: Run, dataset: Dataset, *, waits: bool) -> Finished:
    """Sum up a shard that has done what it can; it stays a run with unfinished parts, those of the other shards."""
    own = replace(dataset, images=tuple(image for number in run.own for image in dataset.images[run.parts[number]]))
    run.folder.write_manifest(run.manifest)
    shard = run.manifest["shard"]
    if waits:
        headline = f"Shard {shard} has its maps; its boxes follow once the maps of all shards were learned from."
    else:
        discard_spool(run.folder.path)
        headline = f"Shard {shard} is done; the metrics are those of the whole, once the shards are merged."
    judged = JudgedRun(read_run(run.folder.path), None, None, headline)
    summary = summarize_run(judged, own)
    return Finished(own, judged, replace(summary, text=headline) if waits else summary, waits)


def run_main_job(
    config: LocalizeConfig,
    command: Sequence[str] = (),
    classifier: Classifier | None = None,
    announce: Callable[[Begun], None] = lambda _begun: None,
    progress: Progress = silent,
) -> Finished:
    """All of it; arguments as :func:`begin` takes them.

    Args:
        config: all settings.
        command: the words of the command line, for the manifest.
        classifier: your own; None to load what the configuration names.
        announce: called with what will be done, before the first image.
        progress: shows the progress over the images.

    Raises:
        UserError: if anything is wrong with the data set, the network or the run folder.
    """
    begun = begin(config, command, classifier)
    run, images = begun.run, begun.dataset.images
    with run.folder:
        announce(begun)
        localizer = _with_refiner(begun, progress)
        if localizer is None:
            return _conclude_shard(run, begun.dataset, waits=True)
        left = sum(len(images[run.parts[number]]) for number in run.missing)
        output = config.output
        engine = begun.engine if localizer.asks_network else _engine(config, localizer)
        results = execute(run, localizer, begun.dataset, engine, keep_maps=output.save_maps, overlays=output.overlays)
        for _ in progress(results, "boxes", "image", left):
            pass
        if config.machines.shard is not None:
            return _conclude_shard(run, begun.dataset, waits=False)
        return conclude(run, config.data, begun.dataset)
