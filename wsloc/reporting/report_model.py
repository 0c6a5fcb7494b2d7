"""The contents of the page of one run, as plain values; ``page.py`` and ``text.py`` render them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wsloc.config import LocalizeConfig
from wsloc.evaluation.bootstrap import Estimate, estimate
from wsloc.evaluation.comparison import differs
from wsloc.evaluation.corloc import class_wise
from wsloc.evaluation.judging import Judged, TrueBoxes, true_boxes
from wsloc.evaluation.kept_curve import judge_boxes
from wsloc.evaluation.object_groups import size_groups
from wsloc.evaluation.summary import BASELINES, RUN, ClassScores, Evaluation, Scores, summarize
from wsloc.evaluation.table import format_points
from wsloc.files.documents import parse_json
from wsloc.judging.detection_metrics import average_precision
from wsloc.judging.judged_run import JudgedRun, classes_asked, reached_truth
from wsloc.judging.label_ranks import LabelRanks, label_ranks
from wsloc.judging.run_summary import FailureGroup, group_failures, orientation_notes
from wsloc.progress import Progress, silent
from wsloc.records import Pair
from wsloc.reporting.charts import Chart
from wsloc.reporting.figures import MissKind, found_fraction, miss_kinds, run_charts
from wsloc.reporting.gallery import GalleryItem, choose, gallery_items
from wsloc.reporting.quality_figures import ClassQuality, class_qualities, quality_charts
from wsloc.reporting.run_pictures import Pictures
from wsloc.reporting.summary_rows import SummaryRow, run_rows, subtitle, version_rows
from wsloc.runs.run_folder import read_config_text

HEADLINE = ("CorLoc class-wise", "CorLoc image-wise", "mean IoU")
DETECTOR_HEADLINE = ("COCO AP", "COCO AP50", "COCO AP75", "VOC mAP, all points")
"""They come first for a detector: CorLoc is given the classes of each image, and a detector is not."""
_FEW_ITEMS = 5
"""A class of fewer items is neither the best nor the worst."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """The page of one run.

    Attributes:
        name: of the run folder.
        subtitle: data and network in a line.
        complete: False for a run that was killed or is still running.
        banners: sentences that a reader must see first.
        notes: sentences on records that were fixed, and on annotations.
        counts: images, items, boxes, fallbacks and failures.
        config_yaml: its settings as written; empty if the file is gone.
        evaluation: its metrics; None if there are none.
        average_precision: by name, in [0, 1], its boxes sorted by quality; empty if there is no ground truth.
        detector: whether the boxes are from a detector, on images whose labels it was not given.
        labeled: whether image-level labels gave the classes to look for; False if the settings are not known.
        failures: by reason, the most frequent first.
        problems: one sentence for each annotation that was left out or fixed.
        weak_classes: classes without a true substitute among the network's outputs.
        items: all of them that can be shown.
        chosen: those that are.
        glance: sentences on where it works and where it fails, and on what the network makes of the labels.
        kinds: what became of the items; empty without ground truth.
        charts: of the boxes against the truth; without it, of their quality.
        qualities: the classes by the quality of their boxes; empty if there are metrics.
        pictures: of the chosen items, filled in later.
    """

    name: str
    subtitle: str
    complete: bool
    banners: tuple[str, ...]
    notes: tuple[str, ...]
    counts: dict[str, int]
    summary_rows: tuple[SummaryRow, ...]
    versions: tuple[SummaryRow, ...]
    config_yaml: str
    evaluation: Evaluation | None
    average_precision: Mapping[str, float]
    detector: bool
    labeled: bool
    failures: tuple[FailureGroup, ...]
    problems: tuple[str, ...]
    weak_classes: tuple[SummaryRow, ...]
    items: tuple[GalleryItem, ...]
    chosen: tuple[GalleryItem, ...]
    glance: tuple[str, ...] = ()
    kinds: tuple[MissKind, ...] = ()
    charts: tuple[Chart, ...] = ()
    qualities: tuple[ClassQuality, ...] = ()
    pictures: Pictures = field(default_factory=Pictures)


def build_run_report(
    run: JudgedRun,
    config: LocalizeConfig | None,
    max_items: int,
    pictured: frozenset[Pair] = frozenset(),
    evaluation: Evaluation | None = None,
    progress: Progress = silent,
) -> RunReport:
    """The report of a run, all but its pictures.

    Args:
        run: as judged; without ground truth the metrics of its folder are taken, if there are any.
        config: its settings; None if they cannot be read.
        max_items: of the gallery.
        pictured: items that the run kept pictures of.
        evaluation: of the run as judged, if it is known already.
        progress: counts the metrics.
    """
    contents, precision = run.contents, dict[str, float]()
    if run.judged is None:
        evaluation, precision = saved_metrics(contents.path)
    elif evaluation is None:
        evaluation = summarize(run.judged, progress)
    items, ranks = gallery_items(run), label_ranks(contents)
    report = RunReport(
        name=contents.name,
        subtitle=subtitle(contents, config),
        complete=contents.complete,
        banners=tuple(_banners(run, evaluation, ranks)),
        notes=(*contents.notes, *orientation_notes(run.truth)),
        counts={
            "images": len(contents.image_ids()),
            "items": len(items),
            "boxes": len(contents.localizations),
            "fallbacks": sum(item.state == "fallback" for item in items),
            "failures": len(contents.failures),
        },
        summary_rows=run_rows(contents, config),
        versions=version_rows(contents),
        config_yaml=read_config_text(contents.path),
        evaluation=evaluation,
        average_precision=precision,
        detector=contents.by_detector,
        labeled=config is not None and config.data.targets == "labels" and config.data.class_name is None,
        failures=group_failures(contents.failures),
        problems=() if run.truth is None else run.truth.problems,
        weak_classes=tuple(SummaryRow(name, note) for name, note in contents.manifest.get("without_substitute") or ()),
        items=items,
        chosen=choose(items, max_items, pictured),
        glance=() if ranks is None else (ranks.sentence,),
    )
    if evaluation is None:
        qualities = class_qualities(contents.localizations, contents.failures)
        return replace(report, qualities=qualities, charts=quality_charts(contents.localizations))
    return _with_judgment(report, run, None if config is None else classes_asked(config.data), progress)


def _with_judgment(report: RunReport, run: JudgedRun, asked: tuple[str, ...] | None, progress: Progress) -> RunReport:
    """The report with what only ground truth can say; unchanged without it."""
    if run.judged is None or run.truth is None or report.evaluation is None:
        return report
    found, reached = run.contents.localizations, run.contents.image_ids()
    truth = {image_id: image for image_id, image in run.truth.images.items() if image_id in reached}
    true = true_boxes(run.judged[RUN].items, run.truth.images)
    kinds = miss_kinds(run.judged[RUN], true, found)
    judged_truth = reached_truth(run.contents, run.truth)
    return replace(
        report,
        average_precision=average_precision(judged_truth, found, "quality", asked, progress),
        glance=(*_at_a_glance(run.judged, report.evaluation, kinds, true), *report.glance),
        kinds=kinds,
        charts=run_charts(run.judged, true, judge_boxes(truth, found, asked), found),
    )


def saved_metrics(folder: Path) -> tuple[Evaluation | None, dict[str, float]]:
    """The metrics that a run folder holds, and its average precision by name; None and empty if it has none."""
    try:
        saved = parse_json((folder / "metrics.json").read_text(encoding="utf-8"))
        rows = tuple(
            Scores(row["name"], {name: Estimate(**value) for name, value in row["metrics"].items()})
            for row in saved["rows"]
        )
        classes = tuple(ClassScores(**scores) for scores in saved["classes"])
        precision = {str(name): float(value) for name, value in saved.get("average precision", {}).items()}
        return Evaluation(saved["images"], saved["items"], rows, classes), precision
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, {}


def precision_note(report: RunReport) -> str:
    """The note on a run's average precision."""
    note = " The labels said which classes to look for, so it is higher than a detector's." if report.labeled else ""
    return "Percent; boxes sorted by quality." + note


def _banners(run: JudgedRun, evaluation: Evaluation | None, ranks: LabelRanks | None) -> list[str]:
    contents = run.contents
    banners = []
    if not contents.localizations and not contents.failures:
        banners.append("This run is empty: it has no box and no failure.")
    if not contents.complete:
        planned = contents.manifest.get("images")
        of_all = f" of {planned:,}" if isinstance(planned, int) else ""
        banners.append(
            f"This run is not finished: {len(contents.image_ids()):,}{of_all} images are there, and all figures are "
            "of these."
        )
    if run.judged is None and run.headless:
        banners.append(run.headless + (" The metrics shown are those of the run folder." if evaluation else ""))
    if ranks is not None and ranks.doubtful:
        banners.append(f"{ranks.sentence} {ranks.warning}")
    return banners


def _at_a_glance(
    judged: Mapping[str, Judged], evaluation: Evaluation, kinds: Sequence[MissKind], true: TrueBoxes
) -> list[str]:
    name = max(BASELINES, key=lambda name: _corloc_of(evaluation, name))
    lead = estimate(class_wise, judged[RUN], judged[name])
    sure = "" if differs(lead, evaluation.items) else ", a difference that may be chance"
    said = [
        f"Class-wise CorLoc is {100 * _corloc_of(evaluation, RUN):.1f} %, {format_points(lead)} points against the "
        f"better baseline, the {name}{sure}."
    ]
    classes = [scores for scores in evaluation.classes if scores.items >= _FEW_ITEMS]
    if len(classes) > 1:
        ranked = sorted(classes, key=lambda scores: -scores.corloc)
        count = min(2, len(ranked) // 2)
        said.append(f"Best on {_named(ranked[:count])}; worst on {_named(ranked[::-1][:count])}.")
    by_size = {group: found_fraction(judged[RUN], kept) for group, kept in size_groups(true).items()}
    groups = [f"{100 * found.value:.0f} % of those {group}" for group, found in by_size.items() if found]
    said.append(f"By the fraction of the image that the object covers, it finds {', '.join(groups)}.")
    missed = [kind for kind in kinds[1:] if kind.count]
    if missed:
        total = sum(kind.count for kind in missed)
        worst = max(missed, key=lambda kind: kind.count)
        if total == 1:
            said.append(f"One item is not found: {worst.name}.")
        else:
            fraction = 100 * worst.count / total
            said.append(f"Of the {total:,} items not found, most are: {worst.name} ({fraction:.0f} %).")
    return said


def _corloc_of(evaluation: Evaluation, name: str) -> float:
    return next(row.metrics["CorLoc class-wise"].value for row in evaluation.rows if row.name == name)


def _named(classes: Sequence[ClassScores]) -> str:
    return " and ".join(f"{scores.class_name} ({100 * scores.corloc:.0f} %)" for scores in classes)
