"""Nothing lost, shown by doing it; fills docs/reliability.md.

python scripts/stress.py images --count 10000   # one run over images of which a tenth is damaged or odd
python scripts/stress.py kills --count 50       # kill -9 at random moments of every phase, then --resume
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from damaged_images import KINDS, Damage
from kill_drill import drill
from markdown_page import fill
from PIL import Image

from wsloc.config import DataSettings
from wsloc.datasets import open_dataset

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
SIDE = 64
"""Pixels of an image, so that ten thousand take minutes."""
PART = 100
SOUND_OF_TEN = 9
FLAGS = (
    "localize --dataset folder --root photos --labels labels.csv --arch demo --input-size 64 --segmenter threshold "
    f"--working-size 48 --checkpoint-every {PART} --device cpu --out run"
).split()


@dataclass(frozen=True, slots=True)
class Item:
    """One image of the stress: its labels, the picture that it shows, and what is wrong with it, if anything."""

    file: str
    labels: tuple[str, ...]
    picture: int
    damage: Damage | None

    @property
    def reason(self) -> str | None:
        """What its failure says; None if it must be read."""
        return None if self.damage is None else self.damage.reason


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in MiB, mean while the first and the last images were localized."""

    first: float
    last: float
    images: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("images", "kills"))
    parser.add_argument("--count", type=int, required=True, help="images, or kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which is killed")
    parser.add_argument("--dry", action="store_true", help="print the table alone, and leave the page as it is")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wsloc-stress-") as folder:
        if arguments.what == "images":
            text, faults = stress(Path(folder), arguments.count)
        else:
            text, faults = drill(Path(folder), arguments.count, arguments.seed)
    print(text)
    for fault in faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    if not arguments.dry and not faults:
        fill(f"stress_{arguments.what}", text, PAGE)
    return 1 if faults else 0


def stress(folder: Path, count: int) -> tuple[str, list[str]]:
    """One run over ``count`` images in ``folder``: a table of what became of them, and what went wrong."""
    items = make_images(folder, count)
    status, memory = run_watched(folder)
    faults = [] if status == 1 else [f"the exit status is {status}, not 1"]
    found, failed = read_results(folder / "run")
    faults += check(items, found, failed)
    return table(items, found, failed, memory), faults


def make_images(folder: Path, count: int) -> list[Item]:
    """Write ``photos/`` and ``labels.csv``: nine of ten are sound, the tenth is of the next kind of damage."""
    demo = open_dataset(DataSettings(dataset="demo", root=folder / "demo"))
    (folder / "photos").mkdir()
    (folder / "sound").mkdir()
    small, sound = [], []
    for number, image in enumerate(demo.images):
        with Image.open(image.path) as opened:
            small.append(opened.convert("RGB").resize((SIDE, SIDE)))
        sound.append(folder / "sound" / f"{number}.jpg")
        small[-1].save(sound[-1])
    items = []
    for number in range(count):
        which, is_sound = number % len(demo.images), number % (SOUND_OF_TEN + 1) < SOUND_OF_TEN
        damage = None if is_sound else KINDS[number // (SOUND_OF_TEN + 1) % len(KINDS)]
        file = (damage.file if damage else "{:06d}.jpg").format(number)
        if damage is None:
            os.link(sound[which], folder / "photos" / file)
        else:
            damage.write(folder / "photos" / file, small[which])
        items.append(Item(file, demo.images[which].labels, which, damage))
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as table_file:
        rows = csv.writer(table_file)
        rows.writerow(["image", "label"])
        rows.writerows([item.file, ";".join(item.labels)] for item in items)
    return items


def run_watched(folder: Path) -> tuple[int, Memory]:
    """Run the command, and look at its memory meanwhile."""
    seen: list[tuple[int, float]] = []
    words = [sys.executable, "-c", "import sys; from wsloc.cli import main; sys.exit(main())", *FLAGS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log)
        while process.poll() is None:
            images = PART * sum(1 for _ in (folder / "run" / "parts").glob("[0-9]*.jsonl"))
            if images and (resident := _resident_mib(process.pid)):
                seen.append((images, resident))
            time.sleep(0.02)
    # At the very end the parts are removed one by one.
    most = max((images for images, _ in seen), default=0)
    edge = min(500, max(PART, most // 4))
    first = [mib for images, mib in seen if images <= edge]
    last = [mib for images, mib in seen if images > most - edge]
    mean_first, mean_last = (sum(part) / max(1, len(part)) for part in (first, last))
    return process.returncode, Memory(mean_first, mean_last, edge)


def _resident_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def read_results(run: Path) -> tuple[dict[tuple[str, str], list[float]], dict[tuple[str, str], str]]:
    """The box of each item that has one, and the reason of each that failed."""

    def rows(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (run / name).read_text(encoding="utf-8").split("\n") if line]

    found = {(row["file"], row["class_name"]): row["box_xyxy"] for row in rows("localizations.jsonl")}
    failed = {(row["file"], row["class_name"]): row["reason"] for row in rows("failures.jsonl")}
    return found, failed


def check(
    items: Sequence[Item], found: dict[tuple[str, str], list[float]], failed: dict[tuple[str, str], str]
) -> list[str]:
    """What is not as it must be: each item done or recorded, for the right reason, and equal pictures equal boxes."""
    faults, box_of = [], dict[tuple[int, str], list[float]]()
    for item in items:
        for name in item.labels:
            key = (item.file, name)
            if (key in found) == (key in failed):
                faults.append(f"{key} is {'twice' if key in found else 'nowhere'}")
            elif item.reason is not None and not re.search(item.reason, failed.get(key, "")):
                faults.append(f"{key} ({item.damage.name if item.damage else ''}): {failed.get(key, 'has a box')}")
            elif item.reason is None and key in failed:
                faults.append(f"{key}: {failed[key]}")
            elif item.damage is None and found[key] != box_of.setdefault((item.picture, name), found[key]):
                faults.append(f"{key} has another box than the same picture had before")
    if len(found) + len(failed) != sum(len(item.labels) for item in items):
        faults.append("there are records of items that were not asked for")
    return faults


def table(
    items: Sequence[Item],
    found: dict[tuple[str, str], list[float]],
    failed: dict[tuple[str, str], str],
    memory: Memory,
) -> str:
    """What became of the images, in Markdown."""
    kinds = Counter(item.damage.name for item in items if item.damage)
    says = {
        item.damage.name: re.sub(r"^\S*\d{6}\S* ", "", failed.get((item.file, item.labels[0]), "read"))
        for item in items
        if item.damage
    }
    sound = sum(item.damage is None for item in items)
    read = sum(item.reason is None for item in items)
    head = (
        f"{len(items):,} images with {len(found) + len(failed):,} items: {sound:,} images are sound, "
        f"{len(items) - sound:,} are damaged or odd in {len(kinds)} ways. All {read:,} that can be read were localized "
        f"({len(found):,} boxes), and all {len(items) - read:,} others were recorded ({len(failed):,} failures). "
        f"Resident memory was {memory.first:.0f} MiB on average while the first {memory.images} images were localized, "
        f"and {memory.last:.0f} MiB in the last {memory.images}."
    )
    lines = [
        head,
        "",
        "| what is wrong | files | what the run says |",
        "|---|---:|---|",
        *(f"| {name} | {count} | {says[name]} |" for name, count in kinds.items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
