"""The table of docs/benchmarks.md on the whole job: wsloc and the plainest script, and wsloc on more and more images.

In an environment of its own, which `make peers` sets up. Each process runs by itself, a small job and a large one in
turn: their difference is what an item takes, without the start of the process.

    .venv-peers/bin/python scripts/benchmark_job.py --root DIR --weights DIR/mobilenet_v2.pth
    .venv-peers/bin/python scripts/benchmark_job.py --growth 186 744 2976
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmark_voc import LISTS, REPOSITORY
from markdown_page import fill
from measured_process import Usage, measure_process

from wsloc.cli.options import parse_localize
from wsloc.datasets import asked_classes, open_dataset
from wsloc.pipeline import make_localizer

PLAIN, DEFAULT, FAST = "the plain script", "`wsloc localize`", "`wsloc localize --preset fast`"
FLAGS_OF = {DEFAULT: [], FAST: ["--preset", "fast"]}
FEW = 4
"""Images of the small job."""
PACKAGES = ("torch", "opencv-python", "grad-cam")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder that holds VOCdevkit")
    parser.add_argument("--weights", type=Path, help="torchvision's weights of mobilenet_v2")
    parser.add_argument("--images", type=int, default=40, help="of the large job")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--growth", nargs="+", type=int, help="numbers of images of the demo, repeated")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark-job"))
    options = parser.parse_args()
    options.runs = options.runs.resolve()
    options.runs.mkdir(parents=True, exist_ok=True)
    if options.root is not None:
        publish("benchmark_job", compare(options))
    if options.growth:
        publish("benchmark_job growth", growth(options))
    return 0


def publish(name: str, lines: Iterator[str]) -> None:
    text = "\n".join(lines)
    print(text)
    fill(name, text)


def compare(options: argparse.Namespace) -> Iterator[str]:
    """Seconds of an item by each way, in the same rounds."""
    few, many = Job(options, FEW), Job(options, options.images)
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in (PLAIN, DEFAULT, FAST)}
    for _ in range(options.rounds):
        for name, taken in rounds.items():
            small, large = few.run(name), many.run(name)
            items = many.items - few.items
            taken.append(((large.processor - small.processor) / items, (large.clock - small.clock) / items))
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield f"{many.items} items in {options.images} images of val, mobilenet_v2; {platform.machine()}, "
    yield f"{os.cpu_count()} cores, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}; median of"
    yield f"{options.rounds} rounds; {versions}."
    yield ""
    yield "| | processor, ms an item | times faster | clock, ms an item | times faster |"
    yield "|---|---:|---:|---:|---:|"
    for name, taken in rounds.items():
        cells = []
        for of_round, of_plain in zip(zip(*taken, strict=True), zip(*rounds[PLAIN], strict=True), strict=True):
            faster = statistics.median(plain / own for own, plain in zip(of_round, of_plain, strict=True))
            cells += [f"{1000 * statistics.median(of_round):.0f}", f"{faster:.1f}"]
        yield f"| {name} | {' | '.join(cells)} |"


class Job:
    """The first images of val with their labels, for either side."""

    def __init__(self, options: argparse.Namespace, count: int) -> None:
        self._weights, self._folder = options.weights.resolve(), options.runs / f"{count}"
        self._folder.mkdir(exist_ok=True)
        self._flags = ["--dataset", "voc", "--root", str(options.root.resolve()), "--split", "trainval"]
        self._flags += ["--ids", str(LISTS / "val.txt"), "--limit", str(count), "--arch", "mobilenet_v2"]
        self._flags += ["--weights", str(self._weights)]
        config = parse_localize(self._flags)
        dataset = open_dataset(config.data)
        label_map = make_localizer(config, asked_classes(config.data, dataset)).model.label_map
        outputs = dict(zip(label_map.class_names, label_map.outputs_of_class, strict=True))
        rows = [(image.path, outputs[name][0]) for image in dataset.images for name in image.labels]
        self.items = len(rows)
        with (self._folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)

    def run(self, name: str) -> Usage:
        script = str(REPOSITORY / "scripts" / ("plain_localization.py" if name == PLAIN else "localize.py"))
        if name == PLAIN:
            words = [str(self._folder / "items.csv"), str(self._weights), str(self._folder / "boxes.csv")]
        else:
            words = [*self._flags, *FLAGS_OF[name], "--out", str(self._folder / "run"), "--overwrite"]
        return measure_process([sys.executable, script, *words], statuses=(0, 1))


def growth(options: argparse.Namespace) -> Iterator[str]:
    """Seconds and memory of wsloc on more and more images of the demo."""
    yield f"The demo's images, repeated; {platform.machine()}, {os.cpu_count()} cores, one run each."
    yield ""
    yield "| images | processor, s | clock, s | processor, ms an image more | peak memory, MiB |"
    yield "|---:|---:|---:|---:|---:|"
    before: tuple[int, Usage] | None = None
    for count in options.growth:
        usage = measure_process(grown_job(options.runs, count), statuses=(0, 1))
        more = f"{1000 * (usage.processor - before[1].processor) / (count - before[0]):.1f}" if before else ""
        before = count, usage
        cells = (count, f"{usage.processor:.0f}", f"{usage.clock:.0f}", more, f"{usage.peak_bytes / 2**20:.0f}")
        yield f"| {' | '.join(map(str, cells))} |"


def grown_job(runs: Path, count: int) -> Sequence[str]:
    """The command that localizes so many images of the demo, each a file of its own."""
    config = parse_localize(["--dataset", "demo"])
    dataset = open_dataset(config.data)
    root = runs / f"demo-{count}"
    if not root.exists():
        partly = runs / "partly"
        shutil.rmtree(partly, ignore_errors=True)
        partly.mkdir()
        with (partly / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["image", "label"])
            for number in range(count):
                image = dataset.images[number % len(dataset.images)]
                name = f"{number:06d}{image.path.suffix}"
                os.link(image.path, partly / name)
                table.writerow([name, ";".join(image.labels)])
        partly.rename(root)
    words = ["--dataset", "folder", "--root", str(root), "--labels", str(root / "labels.csv"), "--arch", "demo"]
    return [
        *(sys.executable, str(REPOSITORY / "scripts" / "localize.py"), *words),
        *("--out", str(runs / f"run-{count}"), "--overwrite"),
    ]


if __name__ == "__main__":
    sys.exit(main())
