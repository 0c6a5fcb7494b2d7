"""``wsloc localize``: the main job."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from wsloc.cli.options import parse_localize, to_yaml

if TYPE_CHECKING:
    from wsloc.datasets import Dataset
    from wsloc.pipeline import Localizer
    from wsloc.runs import Run


def run(arguments: Sequence[str]) -> int:
    """Localise, evaluate, and print the table. Returns 1 if an item failed or an annotation was bad, else 0."""
    config = parse_localize(arguments)
    # Only now, so that --help and a misspelt flag answer before torch is loaded.
    from wsloc.datasets import open_dataset
    from wsloc.pipeline import make_localizer, plan_threads
    from wsloc.runs import execute, finish, open_run, write_report

    dataset = open_dataset(config.data)
    localizer = make_localizer(config, dataset)
    plan = plan_threads(localizer.scorer.device, config.compute.workers)
    run = open_run(config.output, to_yaml(config), dataset, localizer, ["wsloc", "localize", *arguments])
    with run.folder:
        _announce(dataset, localizer, run)
        before = sum(len(dataset.images[run.parts[number]]) for number in run.done)
        with tqdm(total=len(dataset.images), initial=before, unit="image", dynamic_ncols=True) as bar:
            for _ in execute(run, localizer, dataset, plan, config.output.overlays):
                bar.update()
        report = write_report(run.folder.path, config, dataset, localizer)
        finish(run, report.counts)
    print(report.text)
    print(f"\nRun folder: {run.folder.path}")
    print("Next:")
    for text, command in _next_commands(run, arguments):
        print(f"  {text:<22}{command}")
    return 1 if report.counts["failures"] or report.counts["images_without_truth"] else 0


def _announce(dataset: Dataset, localizer: Localizer, run: Run) -> None:
    items = sum(len(image.labels) for image in dataset.images) or f"top {localizer.top_k} classes"
    verb = "Going on with" if run.resumed else "Writing"
    print(
        f"{dataset.name}: {len(dataset.images)} images, {items if isinstance(items, str) else f'{items} items'}; "
        f"{localizer.name}, {localizer.method_name}, {localizer.segmentation.segmenter} on {localizer.scorer.device}.\n"
        f"{verb} {run.folder.path}",
        file=sys.stderr,
    )


def _next_commands(run: Run, arguments: Sequence[str]) -> list[tuple[str, str]]:
    path = run.folder.path
    commands = [
        ("the same again", f"wsloc localize --config {shlex.quote(str(path / 'config.yaml'))}"),
        ("the boxes", f"head -n 3 {shlex.quote(str(path / 'localizations.jsonl'))}"),
    ]
    if "--overlays" not in arguments:
        commands.insert(
            0,
            (
                "look at 20 images",
                shlex.join(["wsloc", "localize", *_kept(arguments), "--overlays", "20", "--limit", "20"]),
            ),
        )
    return commands


def _kept(arguments: Sequence[str]) -> list[str]:
    """The words without the run folder, which the next run must not share."""
    kept: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word in ("--out", "--limit"):
            skip = True
        elif word not in ("--resume", "--overwrite") and not word.startswith(("--out=", "--limit=")):
            kept.append(word)
    return kept
