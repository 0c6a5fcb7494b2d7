"""What the benchmarks share: results that are made once and read again, and the flags of weights files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from wsloc.cli.main import run_verb
from wsloc.runs.run_folder import read_manifest


def finished(folder: Path, verb: str, flags: Sequence[str]) -> Path:
    """The folder of a verb's results, made or completed unless it is complete."""
    manifest = read_manifest(folder)
    if manifest and manifest["complete"]:
        return folder
    if run_verb(verb, [*flags, "--out", str(folder), *(["--resume"] if manifest else [])]) > 1:
        sys.exit(f"{folder} failed.")
    return folder


def weights_flags(options: argparse.Namespace, network: str, flag: str = "--weights") -> list[str]:
    """The file of a network in ``--weights-dir``; none for torchvision's weights."""
    return [flag, str(options.weights_dir / f"{network}.pth")] if options.weights_dir else []
