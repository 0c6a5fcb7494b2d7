"""``wsloc export``: the boxes of a run as files for detectors and annotation tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from wsloc.cli.bars import kept_bar
from wsloc.cli.flags import with_flags
from wsloc.cli.outputs import print_next
from wsloc.errors import counted
from wsloc.exporters.export_settings import LayoutSettings, SelectionSettings
from wsloc.registries import FORMATS
from wsloc.setting_checks import one_of, optional

if TYPE_CHECKING:
    from wsloc.exporters.formats import Export


@dataclass(frozen=True)
class ExportConfig:
    """Write the boxes of a run for a detector or an annotation tool, and print the next command."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help_behavior_hint="")]
    """run folder; it may be unfinished"""
    format: Annotated[str, one_of(FORMATS)]
    """files to write: coco (instances JSON), voc (XML), yolo (text files and data.yaml), imagefolder (Hugging Face),
    label-studio (predictions), or cvat (COCO without outlines)"""
    out: Annotated[Path | None, optional("DIR", "RUN/exports/FORMAT")] = None
    """folder to write"""
    root: Annotated[Path | None, optional("DIR", "as in the run")] = None
    """folder of the data set, if it has moved"""
    overwrite: bool = False
    """replace the export in --out"""
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    layout: LayoutSettings = field(default_factory=LayoutSettings)

    def __post_init__(self) -> None:
        FORMATS.require(self.format)


def run(config: ExportConfig, _command: Sequence[str]) -> int:
    """Export, and print what was left out and what to type next. Returns 1 if an image could not be used, else 0."""
    from wsloc.exporters.exporting import export_run
    from wsloc.exporters.source import source_of_run
    from wsloc.exporters.stream import PROBLEMS

    export = export_run(
        config.run,
        source_of_run(config.run, config.root),
        config.format,
        config.out,
        config.selection,
        config.layout,
        overwrite=config.overwrite,
        progress=kept_bar,
    )
    _print_export(export)
    return 1 if (export.path / PROBLEMS).exists() else 0


def _print_export(export: Export) -> None:
    from wsloc.exporters.formats import next_commands

    counts = export.manifest["counts"]
    images = ", ".join(f"{count} {split}" for split, count in counts["images"].items())
    ignored = f", {counted(counts['ignored'], 'region')} to ignore" if counts["ignored"] else ""
    written = counted(sum(counts["images"].values()), "image")
    print(f"{counted(counts['boxes'], 'box')}{ignored} on {written} ({images})")
    for what, left_out in (("box", counts["boxes_left_out"]), ("image", counts["images_left_out"])):
        for reason, count in left_out.items():
            print(f"  left out: {counted(count, what)} {with_flags(reason)}")
    for warning in export.manifest["warnings"]:
        print(f"  {with_flags(warning)}")
    print(f"\nExport: {export.path}")
    print_next(next_commands(export))
