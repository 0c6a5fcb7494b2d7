from __future__ import annotations

import pytest
import torch

from wsloc.saliency import PairBatch

IMAGES = torch.zeros(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("image_index", "classes", "seeds", "message"),
    [
        ([0, 1], [0], (), "2 pairs, but 1 classes"),
        ([0], [0, 1], (), "1 pairs, but 2 classes"),
        ([0, 1], [0, 1], (7,), "and 1 seeds"),
        ([0, 1], [0, 1], (7, 8, 9), "and 3 seeds"),
    ],
)
def test_lengths_must_agree(image_index: list[int], classes: list[int], seeds: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairBatch(IMAGES, torch.tensor(image_index), torch.tensor(classes), seeds)


def test_indices_must_lie_where_the_images_lie() -> None:
    index = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="on the device of the images"):
        PairBatch(IMAGES.to("meta"), index, index)


def test_size_and_length() -> None:
    batch = PairBatch(IMAGES, torch.tensor([1, 1, 0]), torch.tensor([0, 2, 1]), (1, 2, 3))
    assert (len(batch), batch.size_hw) == (3, (4, 5))
