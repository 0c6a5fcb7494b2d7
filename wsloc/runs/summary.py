"""The end of a run: its metrics, as files and as the text that the command line prints."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from wsloc.classifiers import LabelMap
from wsloc.config import DataSettings
from wsloc.datasets import Dataset, read_ground_truth
from wsloc.evaluation import BASELINES, Evaluation, evaluate
from wsloc.evaluation.table import format_evaluation
from wsloc.records import Failure, Localization
from wsloc.runs.atomic import write_atomic
from wsloc.runs.folder import read_failures, read_localizations

_MOST_PROBLEMS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a finished run says of itself.

    Attributes:
        counts: images, items (pairs with a box or a failure), boxes, fallbacks, failures, and images whose
            annotation could not be read.
        text: for a terminal.
    """

    counts: dict[str, int]
    text: str


def write_summary(folder: Path, settings: DataSettings, dataset: Dataset, label_map: LabelMap) -> RunSummary:
    """Judge the boxes of a run where there is ground truth.

    Writes metrics.json and metrics_per_class.csv, and annotation_problems.txt where there are any.

    Args:
        folder: the run folder, with localizations.jsonl and failures.jsonl.
        settings: which images and classes the run was asked for.
        dataset: what they opened.
        label_map: of the run; the summary names its classes that have no true substitute.
    """
    localizations, failures = list(read_localizations(folder)), list(read_failures(folder))
    truth = read_ground_truth(settings, dataset)
    evaluation = None
    if truth is not None:
        asked = (settings.class_name,) if settings.class_name else settings.classes or None
        evaluation = evaluate(localizations, truth.images, asked)
    if evaluation is not None:
        _write_metrics(folder, evaluation)
        headline = format_evaluation(evaluation)
    elif truth is None:
        headline = "No ground truth, so no metrics."
    else:
        headline = "No image has a true box of the classes asked for, so there are no metrics."

    counts = _counts(dataset, localizations, failures)
    counts["images_without_truth"] = 0 if truth is None else len(dataset.images) - len(truth.images)
    lines = [
        f"{counts['images']} images, {counts['items']} items: {counts['boxes']} boxes, "
        f"{counts['fallbacks']} of them fallbacks, {counts['failures']} failures"
    ]
    lines += [f"  {count} x {reason}" for reason, count in _reasons(localizations, failures)]
    if truth is not None:
        if truth.problems:
            write_atomic(folder / "annotation_problems.txt", (f"{problem}\n" for problem in truth.problems))
        lines += _problem_lines(truth.problems, truth.ambiguous_orientations)
    lines += _substitute_lines(label_map)
    return RunSummary(counts, headline + "\n\n" + "\n".join(lines))


def _counts(dataset: Dataset, localizations: list[Localization], failures: list[Failure]) -> dict[str, int]:
    return {
        "images": len(dataset.images),
        "items": sum(record.component == 0 for record in localizations) + len(failures),
        "boxes": len(localizations),
        "fallbacks": sum(record.fallback is not None for record in localizations),
        "failures": len(failures),
    }


def _reasons(localizations: list[Localization], failures: list[Failure]) -> list[tuple[str, int]]:
    """Reasons with their counts, the most frequent first; a file's own name would make each reason unique."""
    reasons = Counter(
        f"failed in {failure.stage}: {failure.reason.replace(Path(failure.file).name, 'the image')}"
        for failure in failures
    )
    reasons += Counter(
        f"box of the {record.fallback}, because the cut found no foreground"
        for record in localizations
        if record.fallback is not None
    )
    return reasons.most_common(_MOST_PROBLEMS_SHOWN)


def _problem_lines(problems: tuple[str, ...], ambiguous: int) -> list[str]:
    lines = []
    if problems:
        lines.append(f"{len(problems)} problems in the annotations:")
        lines += [f"  {problem}" for problem in problems[:_MOST_PROBLEMS_SHOWN]]
        if len(problems) > _MOST_PROBLEMS_SHOWN:
            lines.append("  ... all of them in annotation_problems.txt")
    if ambiguous:
        lines.append(
            f"{ambiguous} images have an EXIF orientation, and their annotation does not tell in which frame the boxes "
            "are: taken to be that of the stored image."
        )
    return lines


def _substitute_lines(label_map: LabelMap) -> list[str]:
    weak = label_map.without_substitute()
    if not weak:
        return []
    return ["Classes without a true substitute among the network's outputs:"] + [
        f"  {mapped.name}: {mapped.note}" for mapped in weak
    ]


def _write_metrics(folder: Path, evaluation: Evaluation) -> None:
    write_atomic(folder / "metrics.json", json.dumps(asdict(evaluation), indent=2, ensure_ascii=False) + "\n")
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["class", "items", "corloc", "mean_iou", *(f"corloc {name}" for name in BASELINES)])
    for scores in evaluation.classes:
        writer.writerow([scores.class_name, scores.items, scores.corloc, scores.mean_iou, *scores.baselines.values()])
    write_atomic(folder / "metrics_per_class.csv", table.getvalue())
