"""The table of docs/benchmarks.md on what a person waits for before the first answer, with that of an older commit.

Whole commands in fresh processes, those of both commits in turn, so that a busy machine slows both.

    python scripts/benchmark_start.py COMMIT
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmark_voc import REPOSITORY
from compare_commits import checkout
from markdown_page import fill

REPEATS = 5
COMMANDS = {
    "`import wsloc`": ["-c", "import wsloc"],
    "`wsloc --help`": ["-c", "from wsloc.cli.main import main; main(['--help'])"],
    "`wsloc localize --help`": ["-c", "from wsloc.cli.main import main; main(['localize', '--help'])"],
    "the first box of the demo": ["scripts/localize.py", "--dataset", "demo", "--limit", "1", "--out"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="to compare the checkout with")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark-start"))
    options = parser.parse_args()
    older = checkout(options.commit, options.runs.resolve() / options.commit)
    text = "\n".join(table(options.commit, older))
    fill("benchmark_start", text)
    print(text)
    return 0


def table(commit: str, older: Path) -> Iterator[str]:
    yield f"Seconds of the processor, median of {REPEATS}; on the clock in parentheses."
    yield ""
    yield f"| | commit {commit} | now | ratio |"
    yield "|---|---:|---:|---:|"
    for name, arguments in COMMANDS.items():
        taken = [(seconds(older, arguments), seconds(REPOSITORY, arguments)) for _ in range(REPEATS)]
        before, now = (
            [statistics.median(values) for values in zip(*side, strict=True)] for side in zip(*taken, strict=True)
        )
        cells = [f"{processor:.2f} ({clock:.2f})" for processor, clock in (before, now)]
        yield f"| {name} | {' | '.join(cells)} | {now[0] / before[0]:.2f} |"


def seconds(root: Path, arguments: list[str]) -> tuple[float, float]:
    """Of the processor and on the clock, of a fresh interpreter with the code of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        run = [f"{folder}/run"] if arguments[-1] == "--out" else []
        before, start = os.times(), time.perf_counter()
        environment = {**os.environ, "PYTHONPATH": str(root)}
        command = [sys.executable, *arguments, *run]
        subprocess.run(
            command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
        )
        clock, after = time.perf_counter() - start, os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system, clock


if __name__ == "__main__":
    sys.exit(main())
