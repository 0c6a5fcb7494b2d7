"""Pages about runs, with their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from wsloc.config import LocalizeConfig
from wsloc.datasets import Dataset
from wsloc.evaluation.summary import Evaluation
from wsloc.files.atomic import write_atomic
from wsloc.judging.judged_run import JudgedRun, common_truth
from wsloc.progress import Progress, silent
from wsloc.records import Pair
from wsloc.reporting.agreement_report import build_agreement_report
from wsloc.reporting.comparison_report import build_comparison_report
from wsloc.reporting.gallery import GalleryItem
from wsloc.reporting.page import agreement_page, comparison_page, run_page
from wsloc.reporting.report_model import build_run_report
from wsloc.reporting.run_pictures import Pictures, layer_uris, photo_bytes, take_photos
from wsloc.reporting.text import agreement_text, comparison_text, run_text
from wsloc.runs.kept_pictures import MAX_ITEMS as KEPT_ITEMS
from wsloc.runs.kept_pictures import read_pictures
from wsloc.runs.read_run import RunContents
from wsloc.threads import available_cores

MAX_ITEMS = 200
"""Items of a gallery by default."""


def write_page(out: Path, page: str, text: str) -> None:
    """Write a page, and the Markdown version next to it."""
    write_atomic(out, page)
    write_atomic(out.with_suffix(".md"), text)


def page_of_run(
    run: JudgedRun,
    config: LocalizeConfig | None,
    dataset: Dataset | None,
    max_items: int = MAX_ITEMS,
    evaluation: Evaluation | None = None,
    progress: Progress = silent,
) -> tuple[str, str]:
    """The page of one run, in HTML and Markdown.

    Args:
        run: as judged.
        config: its settings; None if they cannot be read.
        dataset: its images; None if they cannot be opened, so that there are no photographs.
        max_items: of the gallery.
        evaluation: of the run as judged, if it is known already.
        progress: shows the progress over metrics and pictures.
    """
    kept = read_pictures(run.contents.path)
    report = build_run_report(run, config, max_items, frozenset(kept), evaluation, progress)
    layers: dict[Pair, Mapping[str, str]] = {
        item.pair: layer_uris(kept[item.pair]) for item in report.chosen if item.pair in kept
    }
    why = f"a run keeps those of {KEPT_ITEMS} items" if kept else "the run kept none"
    if run.contents.manifest.get("kind") is not None:
        why = "detectors and self-training make none"
    pictures = Pictures(layers=layers, reason=f"Map, seeds and mask are missing, because {why}.")
    report = replace(report, pictures=_with_photos(pictures, report.chosen, dataset, progress))
    return run_page(report), run_text(report)


def page_of_runs(
    runs: Sequence[RunContents],
    configs: Sequence[LocalizeConfig],
    max_items: int = MAX_ITEMS,
    progress: Progress = silent,
    annotations: Path | None = None,
) -> tuple[str, str]:
    """The page of several runs, in HTML and Markdown.

    Args:
        runs: at least two.
        configs: of each.
        max_items: of the gallery.
        progress: shows the progress over metrics and pictures.
        annotations: a COCO instances file with other true boxes than those of the data set.

    Raises:
        UserError: if they have no image or no item in common.
    """
    dataset, truth = common_truth(runs, [config.data for config in configs], annotations)
    if truth is None:
        agreed = build_agreement_report(runs, configs, max_items)
        agreed = replace(agreed, pictures=_with_photos(Pictures(), agreed.shown, dataset, progress))
        return agreement_page(agreed), agreement_text(agreed)
    report = build_comparison_report(runs, configs, truth, max_items, progress)
    report = replace(report, pictures=_with_photos(Pictures(), report.shown, dataset, progress))
    return comparison_page(report), comparison_text(report)


def _with_photos(
    pictures: Pictures, items: Sequence[GalleryItem], dataset: Dataset | None, progress: Progress
) -> Pictures:
    if dataset is None:
        return pictures
    wanted = {item.image_id for item in items}
    images = [image for image in dataset.images if image.image_id in wanted]
    with ThreadPoolExecutor(available_cores()) as pool:
        photos = take_photos(images, photo_bytes(len(images), pictures.layers.values()), pool)
        return replace(pictures, photos=dict(progress(photos, "pictures", "picture", len(images))))
