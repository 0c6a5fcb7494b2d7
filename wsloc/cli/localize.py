"""``wsloc localize``: the main job."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from wsloc.cli.flags import with_flags
from wsloc.cli.options import parse_localize, to_yaml

if TYPE_CHECKING:
    from wsloc.config import OutputSettings
    from wsloc.datasets import Dataset
    from wsloc.pipeline import Localizer
    from wsloc.runs.execute_run import Run


def run(arguments: Sequence[str]) -> int:
    """Localize, evaluate, and print the table. Returns 1 if an item failed or an annotation was bad, else 0."""
    config = parse_localize(arguments)
    # Only now, so that --help and a misspelled flag answer before torch is loaded.
    from wsloc.datasets import open_dataset
    from wsloc.judging.judged_run import judge_run
    from wsloc.judging.run_summary import write_summary
    from wsloc.pipeline import make_localizer, plan_threads
    from wsloc.runs.execute_run import execute, finish, open_run
    from wsloc.runs.read_run import read_run

    dataset = open_dataset(config.data)
    localizer = make_localizer(config, dataset)
    plan = plan_threads(localizer.scorer.device, config.compute.workers)
    run = open_run(config.output, to_yaml(config), dataset, localizer, plan, ["wsloc", "localize", *arguments])
    with run.folder:
        _announce(dataset, localizer, run)
        before = sum(len(dataset.images[run.parts[number]]) for number in run.done)
        with tqdm(total=len(dataset.images), initial=before, unit="image", dynamic_ncols=True) as bar:
            for _ in execute(run, localizer, dataset, plan, config.output):
                bar.update()
        # All its images are done; what the manifest still lacks are the counts that come of this.
        contents = dataclasses.replace(read_run(run.folder.path), complete=True)
        judged = judge_run(contents, config.data, dataset)
        summary = write_summary(judged, dataset, localizer.label_map)
        finish(run, summary.counts)
    print(with_flags(summary.text))
    print(f"\nRun folder: {run.folder.path}")
    if config.output.report:
        from wsloc.cli.report import write_run_report

        # Read again for its manifest, which is whole by now.
        judged = dataclasses.replace(judged, contents=read_run(run.folder.path))
        write_run_report(judged, config, dataset, localizer)
    print("Next:")
    for text, command in _next_commands(run, config.output):
        print(f"  {text:<22}{command}")
    status = 1 if summary.counts["failures"] or summary.counts["images_without_truth"] else 0
    if config.output.export:
        from wsloc.cli.export import ExportConfig, export_and_say

        print()
        status = max(status, export_and_say(ExportConfig(run.folder.path, config.output.export)))
    return status


def _announce(dataset: Dataset, localizer: Localizer, run: Run) -> None:
    items = sum(len(image.labels) for image in dataset.images)
    asked = f"top {localizer.top_k} classes" if localizer.top_k else f"{items} items"
    print(
        f"{dataset.name}: {len(dataset.images)} images, {asked}; {localizer.classifier_name}, "
        f"{localizer.method_name} ({_passes(localizer)}), {localizer.segmentation.segmenter} on "
        f"{localizer.scorer.device}.\n"
        f"{'Going on with' if run.resumed else 'Writing'} {run.folder.path}",
        file=sys.stderr,
    )


def _passes(localizer: Localizer) -> str:
    method = localizer.method
    return f"{method.cost} {'a view' if method.shares_passes else 'a view and class'}"


def _next_commands(run: Run, output: OutputSettings) -> list[tuple[str, str]]:
    config = shlex.quote(str(run.folder.path / "config.yaml"))
    boxes = shlex.quote(str(run.folder.path / "localizations.jsonl"))
    report = ("a page to look at", f"wsloc report {shlex.quote(str(run.folder.path))}")
    look = ("look at 20 images", f"wsloc localize --config {config} --limit 20 --overlays 20")
    rest = [
        ("another segmenter", f"wsloc localize --config {config} --segmenter graphcut-2013"),
        ("the boxes", f"head -n 3 {boxes}"),
    ]
    return [*([] if output.report else [report]), *([] if output.overlays else [look]), *rest]
