"""``wsloc detect``: a trained detector applied to images."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from wsloc.cli.bars import kept_bar
from wsloc.cli.flags import with_flags
from wsloc.cli.parse import parse
from wsloc.detection.configs import DetectConfig


def run(arguments: Sequence[str]) -> int:
    """Detect, evaluate, and print the table. Returns 1 if an image failed or an annotation was bad, else 0."""
    config = parse(DetectConfig, "detect", arguments)
    # Only now, so that --help and a misspelled flag answer before torch is loaded.
    from wsloc.detection.detect import run_detection

    def announce(folder: Path) -> None:
        print(f"{'Resuming' if config.output.resume else 'Writing'} {folder}", file=sys.stderr)

    found = run_detection(config, ["wsloc", "detect", *arguments], announce, kept_bar)
    print(with_flags(found.text))
    run = shlex.quote(str(found.path))
    print(f"\nRun folder: {found.path}\nNext:")
    if found.average_precision is not None:
        print(f"  every metric          wsloc evaluate {run}")
    print(f"  a page to look at     wsloc report {run}")
    print(f"  the boxes             wsloc export {run} --format coco --min-score 0.5")
    return 1 if found.counts["failures"] or found.counts["images_without_truth"] else 0
