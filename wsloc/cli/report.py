"""``wsloc report``: a page about one run or several."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from wsloc.cli.bars import bar
from wsloc.cli.flags import with_flags
from wsloc.cli.outputs import free_output
from wsloc.config import MaskValues
from wsloc.config_files import settings_of_run, settings_of_runs
from wsloc.errors import UserError
from wsloc.files.room import in_units
from wsloc.setting_checks import optional, require, require_range

if TYPE_CHECKING:
    from wsloc.runs.read_run import RunContents


@dataclass(frozen=True)
class ReportConfig:
    """Write an HTML page of metrics, charts, and pictures about a run, or about how several runs differ."""

    runs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN...]", help_behavior_hint="")
    ]
    """run folders; they may be unfinished"""
    out: Annotated[Path | None, optional("FILE.html", "RUN/report.html; report.html here for several runs")] = None
    """page to write; an existing report is replaced; the Markdown version is written next to it"""
    gallery: int = 200
    """maximum number of items with pictures (0 to 2000); a run keeps map, seeds, and mask of 200"""
    root: Annotated[Path | None, optional("DIR", "as in the first run")] = None
    """folder of the data set, if it has moved"""
    annotations: Annotated[Path | None, optional("FILE", "as in a run")] = None
    """COCO instances file with other true boxes, such as corrected ones"""
    boxes: Annotated[Path | None, optional("CSV", "as in a run")] = None
    """true boxes of your own images (data set folder)"""
    masks: Annotated[Path | None, optional("DIR", "as in a run")] = None
    """true masks of your own images (data set folder)"""
    mask_values: Annotated[MaskValues | None, optional("nonzero|trimap", "as in a run")] = None
    """what is object in the masks"""

    def __post_init__(self) -> None:
        require(bool(self.runs), "Nothing to report on: give a run folder.")
        require_range(self, "gallery", 0, 2000)
        require(
            self.out is None or self.out.suffix.lower() in (".html", ".htm"),
            f"--out must end in .html, not {self.out}.",
        )


def run(config: ReportConfig, _command: Sequence[str]) -> int:
    """Write the page and its text. Returns 0."""
    from wsloc.reporting.writing import page_of_runs, write_page
    from wsloc.runs.read_run import read_run

    runs = [read_run(path) for path in config.runs]
    out = config.out or (runs[0].path / "report.html" if len(runs) == 1 else Path("report.html"))
    free_output(out, overwrite=True)
    if len(runs) == 1:
        page = _page_of_one(runs[0], config)
    else:
        configs = settings_of_runs(
            config.runs, root=config.root, boxes=config.boxes, masks=config.masks, mask_values=config.mask_values
        )
        page = page_of_runs(runs, configs, config.gallery, bar, config.annotations)
    write_page(out, *page)
    print_report(out)
    return 0


def print_report(out: Path) -> None:
    """Print where a page is, and how large."""
    print(f"Report: {out} ({in_units(out.stat().st_size)}), and as text: {out.with_suffix('.md')}")


def _page_of_one(contents: RunContents, config: ReportConfig) -> tuple[str, str]:
    from wsloc.judging.judged_run import JudgedRun, judge_run, open_images
    from wsloc.reporting.writing import page_of_run

    settings, dataset = None, None
    try:
        settings = settings_of_run(
            contents.path, root=config.root, boxes=config.boxes, masks=config.masks, mask_values=config.mask_values
        )
        own = replace(settings.data, download=False)
        data = own if config.annotations is None else replace(own, annotations=config.annotations)
        dataset = open_images(data, own)
        judged = judge_run(contents, data, dataset)
    except UserError as error:
        if any(given is not None for given in (config.annotations, config.boxes, config.masks)):
            # A page without the requested truth would hide the error.
            raise
        # The run folder alone is still worth a page.
        sentence = f"There are no true boxes and no photographs, because the data set cannot be opened: {error}"
        if settings is not None and settings.data.dataset is not None and "`root`" not in sentence:
            sentence += " If it has moved, give its folder as `root`."
        print(f"wsloc: {with_flags(sentence)}", file=sys.stderr)
        judged = JudgedRun(contents, None, None, sentence)
    return page_of_run(judged, settings, dataset, config.gallery, progress=bar)
