"""``wsloc localize``: boxes from image-level labels."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsloc.cli.bars import bar, kept_bar
from wsloc.cli.flags import TRUST, flag_of, with_flags
from wsloc.cli.options import parse_localize as read_config
from wsloc.cli.outputs import begun, print_next
from wsloc.cli.report import print_report
from wsloc.cli.stopping import if_stopped
from wsloc.config import LocalizeConfig, OutputSettings
from wsloc.config_files import names_code
from wsloc.progress import Progress

if TYPE_CHECKING:
    from wsloc.main_job import Begun, Finished
    from wsloc.pipeline import Localizer

__all__ = ["LocalizeConfig", "read_config", "run"]


def run(config: LocalizeConfig, command: Sequence[str], progress: Progress = kept_bar) -> int:
    """Localize, evaluate, and print the table. Returns 1 if an item failed or an annotation was bad, else 0."""
    # Imported here, so that --help and a misspelled flag answer before torch is loaded.
    from wsloc.main_job import run_main_job

    done = run_main_job(config, command, announce=_announce, progress=progress)
    with if_stopped(lambda: _still_missing(done.judged.contents.path, config.output)):
        return _show(done, config, command)


def _show(done: Finished, config: LocalizeConfig, command: Sequence[str]) -> int:
    from wsloc.learning.set_classifier import MIN_IMAGES

    folder, counts = done.judged.contents.path, done.summary.counts
    print(with_flags(done.summary.text))
    print(f"\nRun folder: {folder}")
    if config.output.overlays:
        from wsloc.runs.overlays import OVERLAYS

        print(f"Overlays: {folder / OVERLAYS}")
    if config.output.report:
        from wsloc.reporting.writing import page_of_run, write_page

        out, evaluation = folder / "report.html", done.summary.evaluation
        write_page(out, *page_of_run(done.judged, config, done.dataset, evaluation=evaluation, progress=bar))
        print_report(out)
    if config.machines.shard is not None:
        _print_next_of_shard(done, config, command)
        return 1 if counts["failures"] else 0
    too_few = len(done.dataset.images) < MIN_IMAGES
    if not counts["boxes"]:
        print_next([("why nothing has a box", f"head -n 3 {shlex.quote(str(folder / 'failures.jsonl'))}")])
        return 1
    print_next(_next_commands(folder, config, [] if too_few else command))
    if config.refinement.refiner is None and too_few:
        print(f"--preset best learns over the set, but from {MIN_IMAGES} images or more.")
    status = 1 if counts["failures"] or counts["images_without_truth"] else 0
    if config.output.export:
        from wsloc.cli import export

        print()
        status = max(status, export.run(export.ExportConfig(folder, config.output.export), command))
    return status


def _print_next_of_shard(done: Finished, config: LocalizeConfig, command: Sequence[str]) -> None:
    """What to type once the other shards are as far."""
    folder, (number, count) = done.judged.contents.path, config.machines.numbered_shard
    # The folders of the others are known if this one's name tells its number.
    stem = str(folder).removesuffix(str(number))
    shards = shlex.quote(stem) + "*" if count > 1 and stem not in ("", str(folder)) else "SHARD..."
    if not done.waits:
        print_next([("once all are done", f"wsloc merge-runs {shards} --out RUN")])
        return
    again = [word for word in command if word not in ("--overwrite", "--resume")]
    trust = f" {flag_of(TRUST)}" if ":" in (config.refinement.refiner or "") else ""
    fit, boxes = f"wsloc fit-refiner {shards}{trust}", f"{shlex.join(again)} --resume"
    print_next([("once all have their maps", fit), ("then the boxes of each shard", boxes)])


def _still_missing(folder: Path, output: OutputSettings) -> str:
    """What to type for what a complete run was to get besides."""
    quoted, missing = shlex.quote(str(folder)), []
    if output.report and not (folder / "report.html").exists():
        missing.append(f"wsloc report {quoted}")
    if output.export and not (folder / "exports" / output.export).exists():
        missing.append(f"wsloc export {quoted} --format {output.export}")
    return f"{folder} is complete" + (f" but for what {' and '.join(missing)} will write" if missing else "")


def _announce(job: Begun) -> None:
    config, dataset = job.config, job.dataset
    items = sum(len(image.labels) for image in dataset.images)
    asked = f"{items} items" if config.data.targets == "labels" else f"{config.data.targets} classes"
    share = f" (shard {config.machines.shard} of them)" if config.machines.shard else ""
    print(
        f"{dataset.name}: {len(dataset.images)} images, {asked}{share}; {_source(config, job.localizer)}, "
        f"{config.segmentation.segmenter}.\n"
        f"{begun(job.run.folder.path, config.output)}",
        file=sys.stderr,
    )


def _source(config: LocalizeConfig, localizer: Localizer) -> str:
    if config.saliency.maps is not None:
        return f"maps of {config.saliency.maps}"
    model = localizer.model
    cost = f"{model.method.cost} per {'view' if model.method.shares_passes else 'view and class'}"
    return f"{model.classifier.name}, {localizer.cut.method} ({cost}) on {model.scorer.device}"


def _next_commands(folder: Path, whole: LocalizeConfig, command: Sequence[str]) -> list[tuple[str, str]]:
    """What to type next; ``command`` is what was typed, or nothing if the set is too small to learn from."""
    output = whole.output
    quoted = shlex.quote(str(folder))
    config = shlex.quote(str(folder / "config.yaml"))
    report = ("an HTML page", f"wsloc report {quoted}")
    again = f"--config {config}" + (f" {flag_of(TRUST)}" if names_code(whole) else "")
    if whole.refinement.refiner is not None and not whole.refinement.fitted:
        again += f" --refiner {shlex.quote(str(folder / 'refiner.safetensors'))}"
    look = ("pictures of 20 images", f"wsloc localize {again} --limit 20 --overlays 20")
    source = f"--maps {quoted}" if output.save_maps in ("float32", "float16") else again
    # Files and views of one's own would override the preset.
    own = {"--config", "--maps", "--views"} & {word.partition("=")[0] for word in command}
    better = whole.refinement.refiner is None and command and not own
    best = [("more right boxes", f"{shlex.join(_without_folder(command))} --preset best")] if better else []
    rest = [
        ("another segmenter", f"wsloc localize {source} --segmenter graphcut-2013"),
        *([] if output.export else [("boxes for a detector", f"wsloc export {quoted} --format yolo")]),
        ("the boxes", f"head -n 3 {shlex.quote(str(folder / 'localizations.jsonl'))}"),
    ]
    return [*best, *([] if output.report else [report]), *([] if output.overlays else [look]), *rest]


def _without_folder(command: Sequence[str]) -> list[str]:
    """The words of a command that do not say where its results go."""
    words, kept = iter(command), []
    for word in words:
        if word in ("--out", "--preset"):
            next(words, None)
        elif word not in ("--overwrite", "--resume") and not word.startswith(("--out=", "--preset=")):
            kept.append(word)
    return kept
