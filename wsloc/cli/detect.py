"""``wsloc detect``: a trained detector applied to images."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from wsloc.cli.bars import kept_bar
from wsloc.cli.flags import with_flags
from wsloc.cli.outputs import begun, print_next
from wsloc.detection.configs import DetectConfig
from wsloc.progress import Progress


def run(config: DetectConfig, command: Sequence[str], progress: Progress = kept_bar) -> int:
    """Detect, evaluate, and print the table. Returns 1 if an image failed or an annotation was bad, else 0."""
    from wsloc.detection.detect import run_detection

    def announce(folder: Path) -> None:
        print(begun(folder, config.output), file=sys.stderr)

    found = run_detection(config, command, announce, progress)
    print(with_flags(found.text))
    run = shlex.quote(str(found.path))
    print(f"\nRun folder: {found.path}")
    judge = [] if found.average_precision is None else [("every metric", f"wsloc evaluate {run}")]
    page = ("a page to look at", f"wsloc report {run}")
    print_next([*judge, page, ("the boxes", f"wsloc export {run} --format coco --min-score 0.5")])
    return 1 if found.counts["failures"] or found.counts["images_without_truth"] else 0
