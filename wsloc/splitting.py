"""Which images of a set are held out, so that every class has its fraction of them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def hold_out(image_ids: Sequence[str], shown: Sequence[Sequence[int]], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which images are held out, chosen by a hash of their ids.

    Of each class, the rarest first, images are taken in the order of their hash until the fraction of them is reached,
    at least one; the last image of a class is never taken. Images that show no class count as a class.

    Args:
        image_ids: N, unique.
        shown: the classes of each, by number, none twice.
        fraction: of the images of each class, in [0, 1).
        seed: of the run.

    Returns:
        bool ``(N,)``.
    """
    held = np.zeros(len(image_ids), dtype=bool)
    if fraction == 0:
        return held
    no_class = 1 + max((number for own in shown for number in own), default=-1)
    classes = [own or (no_class,) for own in shown]
    hashes = [hashlib.blake2b(f"{seed}\x1f{image_id}".encode(errors="surrogateescape")).digest()
              for image_id in image_ids]  # fmt: skip
    of_class: defaultdict[int, list[int]] = defaultdict(list)
    for row in sorted(range(len(hashes)), key=hashes.__getitem__):
        for number in classes[row]:
            of_class[number].append(row)
    left = {number: len(rows) for number, rows in of_class.items()}
    taken: Counter[int] = Counter()
    for number in sorted(of_class, key=lambda number: (len(of_class[number]), number)):
        wanted = max(1, round(fraction * len(of_class[number])))
        for row in of_class[number]:
            if taken[number] >= wanted:
                break
            if not held[row] and all(left[other] > 1 for other in classes[row]):
                held[row] = True
                taken.update(classes[row])
                for other in classes[row]:
                    left[other] -= 1
    return held
