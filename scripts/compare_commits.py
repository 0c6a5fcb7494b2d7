"""Whether another commit finds the same boxes and masks: on the demo, and on VOC12-animals-920 val.

    python scripts/compare_commits.py COMMIT --root DIR --weights squeezenet1_0.pth

Each commit runs in a checkout of its own, by the same environment. Runs that are there and complete are kept, so that a
killed comparison resumes. Exits with status 1 where a box or a mask differs by a bit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

METHODS = ("gradient", "grad-cam")
SEGMENTERS = ("grabcut", "graphcut-2013", "threshold")
COMPARED = ("image_id", "class_name", "component", "box_xyxy", "probability", "quality", "fallback", "rank", "mask_rle")
HERE = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="to compare the checkout with")
    parser.add_argument("--root", type=Path, help="folder that holds VOCdevkit; without it the demo alone is compared")
    parser.add_argument("--weights", type=Path, help="torchvision's weights of squeezenet1_0")
    parser.add_argument("--runs", type=Path, default=Path("runs/compare-commits"))
    options = parser.parse_args()
    runs = options.runs.resolve()
    other = checkout(options.commit, runs / "checkout")
    differing = 0
    for name, flags in jobs(options).items():
        of_both = [records(run(root, runs / side / name, flags)) for side, root in (("before", other), ("now", HERE))]
        same = of_both[0] == of_both[1]
        differing += not same
        print(f"{name}: {len(of_both[1])} boxes, {'equal to the bit' if same else 'DIFFERENT'}", flush=True)
    return 1 if differing else 0


def jobs(options: argparse.Namespace) -> dict[str, list[str]]:
    """Flags of each run, by its name."""
    data = {"demo": ["--dataset", "demo"]}
    if options.root is not None:
        data["voc"] = ["--dataset", "voc", "--root", str(options.root.resolve()), "--split", "val"]
        data["voc"] += ["--arch", "squeezenet1_0", "--weights", str(options.weights.resolve())]
    return {
        f"{name}-{method}-{segmenter}": [*flags, "--method", method, "--segmenter", segmenter]
        for name, flags in data.items()
        for segmenter in SEGMENTERS
        for method in METHODS
    }


def checkout(commit: str, folder: Path) -> Path:
    """The files of a commit in a folder of their own."""
    if not folder.exists():
        subprocess.run(["git", "-C", str(HERE), "worktree", "add", "--detach", str(folder), commit], check=True)
    return folder


def run(root: Path, folder: Path, flags: list[str]) -> Path:
    """A run folder made by the code of a checkout, unless it exists."""
    if not (folder / "localizations.jsonl").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(root / "scripts" / "localize.py"), *flags, "--out", str(folder), "--overwrite"]
        done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{' '.join(command)} failed.")
    return folder


def records(folder: Path) -> list[dict[str, Any]]:
    """What must not differ of each box."""
    lines = (folder / "localizations.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: record[key] for key in COMPARED} for record in map(json.loads, lines)]


if __name__ == "__main__":
    sys.exit(main())
