"""The table of docs/benchmarks.md on where a run spends its time, function by function, now and at an older commit.

Runs the main job on VOC12-animals-920 val under py-spy (`pip install py-spy`), one commit after the other. A sample
counts for the innermost Python function of every thread that is not waiting; work of PyTorch and OpenCV counts for the
function that calls them. Profiles that are there are kept, so that a killed benchmark resumes.

    python scripts/benchmark_profile.py COMMIT --root data --split trainval --weights-dir weights
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmark_runs import weights_flags
from benchmark_voc import REPOSITORY, add_data_flags, data_flags
from compare_commits import checkout
from markdown_page import fill

NETWORK, MOST = "mobilenet_v2", 10
SAMPLE = re.compile(r"(?:.*;)?(?P<function>[^;(]+) \((?P<file>[^;():]+)(?::\d+)?\) (?P<count>\d+)")
"""A line of py-spy's raw format: frames from the outermost to the innermost, and how often they were seen."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="to compare the checkout with")
    add_data_flags(parser)
    parser.set_defaults(runs=Path("runs/benchmark-profile"))
    options = parser.parse_args()
    options.root, options.weights_dir = options.root.resolve(), options.weights_dir and options.weights_dir.resolve()
    runs = options.runs.resolve()
    older = checkout(options.commit, runs / options.commit)
    text = "\n".join(
        line
        for name, root in ((f"commit {options.commit}", older), ("now", REPOSITORY))
        for line in table(name, profile(options, root, runs / f"{name.rpartition(' ')[2]}.raw"))
    )
    print(text)
    fill("benchmark_profile", text)
    return 0


def profile(options: argparse.Namespace, root: Path, file: Path) -> Counter[str]:
    """How many samples each function has, in a run by the code of a checkout."""
    if not file.exists():
        flags = [*data_flags(options, "val", classes=()), "--arch", NETWORK, *weights_flags(options, NETWORK)]
        run = [sys.executable, "scripts/localize.py", *flags, "--out", str(file.with_suffix(".run")), "--overwrite"]
        record = ["py-spy", "record", "--rate", "50", "--format", "raw", "--output", f"{file}.tmp", "--"]
        subprocess.run([*record, *run], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=True)
        Path(f"{file}.tmp").rename(file)
    samples: Counter[str] = Counter()
    for line in file.read_text(encoding="utf-8").splitlines():
        if found := SAMPLE.fullmatch(line):
            samples[f"`{found['function']}` ({found['file']})"] += int(found["count"])
    return samples


def table(name: str, samples: Counter[str]) -> Iterator[str]:
    yield f"\n| {name}: function | % of {samples.total():,} samples |\n|---|---:|"
    for function, count in samples.most_common(MOST):
        yield f"| {function} | {100 * count / samples.total():.1f} |"


if __name__ == "__main__":
    sys.exit(main())
