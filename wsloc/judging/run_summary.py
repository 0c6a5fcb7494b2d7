"""The summary of a run: its metrics, as files and as the text that the command line prints."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsloc.datasets import Dataset, GroundTruthSet
from wsloc.errors import counted
from wsloc.evaluation import Evaluation
from wsloc.evaluation.summary import summarize
from wsloc.evaluation.table import format_evaluation
from wsloc.files.atomic import write_atomic
from wsloc.judging.judged_run import JudgedRun, write_metrics
from wsloc.judging.label_ranks import LabelRanks, label_ranks
from wsloc.progress import Progress, silent
from wsloc.records import Failure
from wsloc.runs.read_run import RunContents

_MAX_PROBLEMS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in short.

    Attributes:
        counts: those of :func:`count_records`.
        evaluation: its metrics; None without ground truth.
        ranks: of its labels; None if it has none to compare.
        text: for a terminal.
    """

    counts: dict[str, int]
    evaluation: Evaluation | None
    ranks: LabelRanks | None
    text: str


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Items that failed for the same reason, and their files."""

    stage: str
    reason: str
    files: tuple[str, ...]


def summarize_run(run: JudgedRun, dataset: Dataset, progress: Progress = silent) -> RunSummary:
    """What is known of the boxes of a run on a data set; ``progress`` counts the metrics."""
    truth, headline = run.truth, run.headless
    evaluation = None if run.judged is None else summarize(run.judged, progress)
    if evaluation is not None:
        headline = format_evaluation(evaluation)
    counts, ranks = count_records(dataset, run), label_ranks(run.contents)
    lines = [
        f"{counted(counts['images'], 'image')}, {counted(counts['items'], 'item')}: {counted(counts['boxes'], 'box')}, "
        f"{counts['fallbacks']} of them fallbacks, {counted(counts['failures'], 'failure')}"
    ]
    lines += [f"  {count} x {reason}" for reason, count in frequent_reasons(run.contents)]
    if counts["failures"]:
        lines.append(f"  listed in {run.contents.path / 'failures.jsonl'}")
    if ranks is not None:
        lines += [ranks.sentence, *([ranks.warning] if ranks.doubtful else [])]
    lines += run.contents.notes
    if truth is not None:
        lines += _problem_lines(truth)
    if changed := run.contents.manifest.get("changed_settings"):
        used = ", ".join(f"`{name}` {value}" for name, value in changed.items())
        lines.append(f"The memory of the device did not suffice for the settings; in the end it ran with {used}")
    if weak := run.contents.manifest.get("without_substitute"):
        lines.append("Classes without a true substitute among the network's outputs:")
        lines += [f"  {name}: {note}" for name, note in weak]
    return RunSummary(counts, evaluation, ranks, headline + "\n\n" + "\n".join(lines))


def write_summary(
    run: JudgedRun,
    dataset: Dataset,
    more: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress = silent,
) -> RunSummary:
    """Also write it into the run folder.

    Writes metrics.json (``more`` adds groups of metrics to it by name), metrics_per_class.csv and items.csv if there is
    ground truth, and annotation_problems.txt if there are any.
    """
    summary = summarize_run(run, dataset, progress)
    if summary.evaluation is not None:
        write_metrics(run.contents.path, run, summary.evaluation, more)
    if run.truth is not None and run.truth.problems:
        write_atomic(run.contents.path / "annotation_problems.txt", (f"{line}\n" for line in run.truth.problems))
    return summary


def count_records(dataset: Dataset, run: JudgedRun) -> dict[str, int]:
    """Images, items (pairs with a box or a failure), boxes, fallbacks, failures, images whose truth cannot be read."""
    localizations, failures, truth = run.contents.localizations, run.contents.failures, run.truth
    return {
        "images": len(dataset.images),
        "items": sum(record.index == 0 for record in localizations) + len(failures),
        "boxes": len(localizations),
        "fallbacks": sum(record.fallback is not None for record in localizations),
        "failures": len(failures),
        "images_without_truth": 0 if truth is None or truth.partial else len(dataset.images) - len(truth.images),
    }


def group_failures(failures: Sequence[Failure]) -> tuple[FailureGroup, ...]:
    """Failures by stage and reason, most frequent first."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for failure in failures:
        # The file name, with or without its folders, would make each reason unique.
        name = rf"(?<!\w)([^\s'\"]*[/\\])?{re.escape(Path(failure.file).name)}(?!\w)"
        reason = re.sub(name, "the image", failure.reason)
        groups[failure.stage, reason].append(failure.file + (f" ({failure.class_name})" if failure.class_name else ""))
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return tuple(FailureGroup(stage, reason, tuple(files)) for (stage, reason), files in ordered)


def frequent_reasons(contents: RunContents) -> list[tuple[str, int]]:
    """The reasons for a missing or a fallback box, with their counts, the most frequent first."""
    groups = group_failures(contents.failures)
    reasons = Counter({f"failed in {group.stage}: {group.reason}": len(group.files) for group in groups})
    reasons += Counter(
        f"box of the {record.fallback}, because the cut found no foreground"
        for record in contents.localizations
        if record.fallback is not None
    )
    return reasons.most_common(_MAX_PROBLEMS_SHOWN)


def orientation_notes(truth: GroundTruthSet | None) -> list[str]:
    """A sentence on annotations whose frame is not known, if there are any."""
    if truth is None or not truth.ambiguous_orientations:
        return []
    return [
        f"{counted(truth.ambiguous_orientations, 'image')} with an EXIF orientation, whose annotation does not say "
        "which frame its boxes use: assumed to be that of the stored image."
    ]


def _problem_lines(truth: GroundTruthSet) -> list[str]:
    problems, lines = truth.problems, []
    if problems:
        lines.append(f"{len(problems)} problems in the annotations:")
        lines += [f"  {problem}" for problem in problems[:_MAX_PROBLEMS_SHOWN]]
        if len(problems) > _MAX_PROBLEMS_SHOWN:
            lines.append("  ... all are in annotation_problems.txt")
    return lines + orientation_notes(truth)
