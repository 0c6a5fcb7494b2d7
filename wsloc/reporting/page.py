"""From what a report says to one HTML file that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from wsloc.errors import counted
from wsloc.evaluation.agreement import agreement_tables
from wsloc.evaluation.comparison import differs
from wsloc.evaluation.summary import Evaluation
from wsloc.evaluation.table import format_interval, format_percent
from wsloc.records import BoxXyxy
from wsloc.reporting.agreement_report import AgreementReport
from wsloc.reporting.comparison_report import ComparisonReport, RunHead, run_color
from wsloc.reporting.gallery import GalleryItem
from wsloc.reporting.quality_figures import MIN_SCORES
from wsloc.reporting.report_model import DETECTOR_HEADLINE, HEADLINE, RunReport, precision_note
from wsloc.reporting.run_pictures import Pictures

TOP_LOC = "Top-1 Loc"
GT_KNOWN = "GT-known Loc"
_BACKQUOTED = re.compile(r"`([^`]+)`")


def run_page(report: RunReport) -> str:
    """The page of one run."""
    return _render(
        "run.html.jinja",
        report=report,
        headline=headline(report.evaluation),
        min_scores=MIN_SCORES,
        precision_headline=[name for name in DETECTOR_HEADLINE if report.detector and name in report.average_precision],
        precision_note=precision_note(report),
        gallery=_run_gallery(report),
    )


def comparison_page(report: ComparisonReport) -> str:
    """The page of several runs."""
    return _render("comparison.html.jinja", report=report, gallery=_comparison_gallery(report))


def agreement_page(report: AgreementReport) -> str:
    """The page of several runs without true boxes."""
    return _render(
        "agreement.html.jinja",
        report=report,
        tables=agreement_tables(report.agreement, 0)[:-1],
        gallery=_agreement_gallery(report),
    )


def headline(evaluation: Evaluation | None) -> tuple[str, ...]:
    """The metrics that are shown large."""
    if evaluation is None:
        return ()
    there = evaluation.rows[0].metrics
    return tuple(name for name in (*HEADLINE, TOP_LOC if TOP_LOC in there else GT_KNOWN) if name in there)


def _render(template: str, **content: Any) -> str:
    text = _environment().get_template(template).render(**content)
    # A file name may contain bytes that are not text.
    return text.encode(errors="backslashreplace").decode()


def _sentence(text: str) -> Markup:
    """Escaped, with what stands in backquotes as code."""
    return Markup(_BACKQUOTED.sub(r"<code>\1</code>", str(escape(text))))


@cache
def _environment() -> Environment:
    loader = PackageLoader("wsloc.reporting")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )

    def source(name: str) -> Markup:
        """The unescaped text of one of our own files; nothing from a run passes through here."""
        return Markup(loader.get_source(environment, name)[0])

    environment.globals |= {"source": source, "run_color": run_color}
    environment.filters |= {"interval": format_interval, "percent": format_percent, "differs": differs}
    environment.filters |= {"counted": counted, "sentence": _sentence}
    return environment


def _run_gallery(report: RunReport) -> dict[str, Any]:
    return {
        "judged": any(item.iou is not None for item in report.chosen),
        "comparison": False,
        "runs": [{"name": report.name, "color": "found"}],
        "layersReason": report.pictures.reason,
        "photos": _photo_fields(report.pictures),
        "items": [
            _item_fields(item, report.pictures) | {"boxes": [_box_fields(0, box) for box in item.boxes_xyxy]}
            for item in report.chosen
        ],
    }


def _comparison_gallery(report: ComparisonReport) -> dict[str, Any]:
    items = []
    for row, item in zip(report.chosen, report.shown, strict=True):
        boxes = [_box_fields(run, box) for run, box in enumerate(row.boxes_xyxy) if box is not None]
        ious = [round(iou, 4) for iou in row.ious]
        items.append(_item_fields(item, report.pictures) | {"boxes": boxes, "ious": ious})
    return {
        "judged": True,
        "comparison": True,
        "runs": _run_keys(report.runs),
        "layersReason": "",
        "photos": _photo_fields(report.pictures),
        "items": items,
    }


def _agreement_gallery(report: AgreementReport) -> dict[str, Any]:
    items = []
    for row, item in zip(report.chosen, report.shown, strict=True):
        boxes = [_box_fields(run, box) for run, box in enumerate(row.boxes_xyxy) if box is not None]
        qualities = [_rounded(quality) for quality in row.qualities]
        items.append(_item_fields(item, report.pictures) | {"boxes": boxes, "qualities": qualities})
    return {
        "judged": False,
        "comparison": True,
        "agreement": True,
        "runs": _run_keys(report.runs),
        "layersReason": "",
        "photos": _photo_fields(report.pictures),
        "items": items,
    }


def _run_keys(runs: Sequence[RunHead]) -> list[dict[str, str]]:
    return [{"name": run.name, "color": f"n{run_color(index)}"} for index, run in enumerate(runs)]


def _photo_fields(pictures: Pictures) -> dict[str, dict[str, Any]]:
    return {
        image_id: {"uri": photo.uri, "size": photo.size_wh, "reason": photo.reason}
        for image_id, photo in pictures.photos.items()
    }


def _item_fields(item: GalleryItem, pictures: Pictures) -> dict[str, Any]:
    layers = pictures.layers.get(item.pair)
    return {
        "image": item.image_id,
        "file": item.file or item.image_id,
        "class": item.class_name,
        "state": item.state,
        "iou": _rounded(item.iou),
        "probability": _rounded(item.probability),
        "quality": _rounded(item.quality),
        "true": [
            {"box": _box(box), "difficult": difficult}
            for box, difficult in zip(item.true_xyxy, item.difficult, strict=True)
        ],
        "size": item.size_wh,
        "reason": item.reason,
        "layers": None if layers is None else [layers["saliency"], layers["seeds"], layers["mask"]],
    }


def _box_fields(run: int, box: BoxXyxy) -> dict[str, Any]:
    return {"run": run, "box": _box(box)}


def _box(box: Sequence[float]) -> list[float]:
    return [round(value, 1) for value in box]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
