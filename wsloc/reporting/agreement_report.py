"""The contents of the page of several runs without true boxes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wsloc.config import LocalizeConfig
from wsloc.evaluation.agreement import Agreement, AgreementItem, agree
from wsloc.judging.judged_run import contender
from wsloc.reporting.charts import UNIT_TICKS, Chart, count_ticks, histogram_bars
from wsloc.reporting.comparison_report import RunHead, run_heads, run_names
from wsloc.reporting.gallery import GalleryItem
from wsloc.reporting.run_pictures import Pictures
from wsloc.runs.read_run import RunContents

_BINS = 20


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """The page of several runs without true boxes.

    Attributes:
        agreement: of the boxes of each run with those of the first.
        charts: one for each run but the first.
        chosen: the items to show, those that the runs disagree on most first.
        shown: the same, as the gallery has them.
        pictures: photographs of their images, filled in later.
    """

    runs: tuple[RunHead, ...]
    agreement: Agreement
    charts: tuple[Chart, ...]
    chosen: tuple[AgreementItem, ...]
    shown: tuple[GalleryItem, ...]
    pictures: Pictures = field(default_factory=Pictures)


def build_agreement_report(
    runs: Sequence[RunContents], configs: Sequence[LocalizeConfig], max_items: int
) -> AgreementReport:
    """Compare runs with the first of them.

    Raises:
        UserError: if the runs have no image or no item in common.
    """
    names = run_names(runs)
    agreement = agree([contender(*run) for run in zip(names, runs, [one.data for one in configs], strict=True)])
    records = {record.image_id: record for contents in reversed(runs) for record in contents.localizations}
    chosen = agreement.items[:max_items]
    shown = tuple(
        GalleryItem(
            image_id=item.image_id,
            file=records[item.image_id].file,
            class_name=item.class_name,
            state="box",
            iou=min(item.overlaps),
            probability=None,
            quality=None,
            boxes_xyxy=(),
            true_xyxy=(),
            difficult=(),
            size_wh=records[item.image_id].size_wh,
            reason="",
        )
        for item in chosen
    )
    charts = tuple(_chart(agreement, run) for run in range(1, len(names)))
    return AgreementReport(run_heads(names, runs, configs), agreement, charts, chosen, shown)


def _chart(agreement: Agreement, run: int) -> Chart:
    counts, edges = np.histogram(agreement.overlaps(run), bins=_BINS, range=(0, 1))
    labels = [f"IoU {left:.2f} to {right:.2f}" for left, right in itertools.pairwise(edges.tolist())]
    y_range, y_ticks = count_ticks(int(counts.max()))
    first, other = agreement.names[0], agreement.names[run]
    return Chart(
        f"agreement-{run}",
        f"IoU of {first} and {other}",
        "How far the boxes of the two runs agree; at 0 those with nothing in common, or without one of the boxes.",
        "IoU of the two boxes",
        "items",
        (0, 1),
        y_range,
        UNIT_TICKS,
        y_ticks,
        bars=histogram_bars(edges.tolist(), counts.tolist(), labels),
    )
