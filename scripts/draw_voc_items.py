"""Draws docs/voc12-animals-920/PART-N.txt: N / 6 items of each of the six large classes, no image twice, one per line.

Methods of many passes per image are measured on val-96; thresholds are chosen on train-96, for those on train-48.

    python scripts/draw_voc_items.py --root data
"""

from __future__ import annotations

import argparse
import random
import sys

from benchmark_voc import CLASSES, LISTS, add_data_flags, truth_of

LISTS_OF_ITEMS = (("train", 96), ("train", 48), ("val", 96))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    options = parser.parse_args()
    for part, count in LISTS_OF_ITEMS:
        pairs = truth_of(options, part).items.pairs()
        generator = random.Random(0)
        taken: list[tuple[str, str]] = []
        for name in CLASSES:
            free = sorted({image for image, other in pairs if other == name}.difference(image for image, _ in taken))
            taken += [(image, name) for image in generator.sample(free, count // len(CLASSES))]
        lines = "".join(f"{image} {name}\n" for image, name in sorted(taken))
        (LISTS / f"{part}-{count}.txt").write_text(lines, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
