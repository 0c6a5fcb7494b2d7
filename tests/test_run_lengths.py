"""Compressed run lengths, compared with pycocotools and with the loop that COCO's documentation describes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsloc.run_lengths import decode, encode, expand, read_counts


def read_slowly(text: str) -> list[int] | None:
    """Character by character, with whole numbers of any size; None if it is malformed."""
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            return None
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            value -= (code & 0x10) << (shift - 4)
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value, shift = 0, 0
    return counts if shift == 0 else None


def padded(text: str, more: int) -> str:
    """The same numbers in more characters than they need, as other writers may spell them."""
    spelled = []
    for code in (ord(character) - 48 for character in text):
        sign = 0x1F if code & 0x10 else 0
        codes = [code] if code & 0x20 or not more else [code | 0x20, *[sign | 0x20] * (more - 1), sign]
        spelled += [chr(code + 48) for code in codes]
    return "".join(spelled)


masks = st.tuples(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 999)).map(
    lambda made: np.random.default_rng(made[3]).random(made[:2]) < made[2]
)


@given(masks, st.sampled_from([0, 1, 5, 13, 20]))
def test_every_mask_is_read_back(mask: np.ndarray, more: int) -> None:
    encoded = encode(mask)
    assert (decode({**encoded, "counts": padded(encoded["counts"], more)}) == mask).all()


@given(st.text(st.characters(min_codepoint=46, max_codepoint=113), max_size=12), st.integers(0, 99))
def test_any_text_is_read_or_refused_as_the_loop_does(text: str, pixels: int) -> None:
    expected = read_slowly(text)
    if expected is not None and (min(expected, default=0) < 0 or sum(expected) != pixels or not expected):
        expected = None
    runs = read_counts(text, pixels)
    assert (None if runs is None else runs.tolist()) == expected


@pytest.mark.parametrize(
    ("counts", "runs"),
    [
        ([1, 3], [1, 3]),
        ([0, 4], [0, 4]),
        ("13", [1, 3]),
        ("04", [0, 4]),
        ([], None),
        ("", None),
        ([1, 2], None),
        ([-1, 5], None),
        ([1, 3.0], None),
        ([True, 3], None),
        ([10**30, 3], None),
        (["1", "3"], None),
        ("Q", None),  # goes on after its end
        ("1é", None),
        ("1\udc80", None),
        ("O5", None),  # -1, 5
        ("1 3", None),
        (4, None),
        (None, None),
    ],
)
def test_lengths_of_four_pixels(counts: object, runs: list[int] | None) -> None:
    found = read_counts(counts, 4)
    assert (None if found is None else found.tolist()) == runs


def test_runs_go_down_the_columns() -> None:
    mask = expand(np.array([1, 2, 1, 2]), (3, 2))
    assert mask.tolist() == [[False, False], [True, True], [True, True]]
