"""What is trained on and what is held out, from image-level labels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsloc.datasets import Dataset
from wsloc.errors import UserError
from wsloc.fitting.examples import Examples, Loss, check_trainable, choose_loss, for_loss, hold_out, make_examples
from wsloc.records import ImageRecord


def dataset(*labels: str, class_names: str = "abcdefgh") -> Dataset:
    """An image for each word, labeled with its letters."""
    images = tuple(
        ImageRecord(f"{number:03d}", f"{number:03d}.jpg", Path(f"{number:03d}.jpg"), tuple(word))
        for number, word in enumerate(labels)
    )
    return Dataset("made", Path(), tuple(class_names), images)


def test_examples_by_hand() -> None:
    examples = make_examples(dataset("b", "", "az", "ab"))
    assert examples.class_names == ("a", "b", "z")  # the data set's order, then what it does not know
    assert examples.present.tolist() == [
        [False, True, False], [False, False, False], [True, False, True], [True, True, False],
    ]  # fmt: skip
    assert for_loss(examples, "bce") is examples
    labeled = for_loss(examples, "cross-entropy")
    assert [image.image_id for image in labeled.images] == ["000", "002", "003"]
    assert labeled.present.tolist() == [[False, True, False], [True, False, True], [True, True, False]]
    assert labeled.left_out == 1
    of_test = make_examples(dataset("bc", "c"), ("a", "b"))
    assert of_test.present.tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize(
    ("labels", "fraction", "message"),
    [
        (["", ""], 0.2, "No image has a label, so there is nothing to learn"),
        (["a", "a"], 0.2, "All images show the one class a, and a classifier learns by telling classes apart"),
        (["a", "a", "b", "c", "c"], 0.2, "The class b labels one image only, which cannot be trained on and held out"),
        (["a", "bc", "a"], 0.2, "The classes b, c label one image only"),
        (["a", "a", "b"], 0, None),
        (["a", "a", "b", "b"], 0.5, None),
        (["a", "a", ""], 0.2, None),
    ],
)
def test_labels_that_nothing_can_be_learned_from(labels: list[str], fraction: float, message: str | None) -> None:
    examples = make_examples(dataset(*labels))
    if message is None:
        check_trainable(examples, fraction)
    else:
        with pytest.raises(UserError, match=message):
            check_trainable(examples, fraction)


@pytest.mark.parametrize(
    ("labels", "asked", "loss"),
    [
        (["a", "b"], None, "cross-entropy"),
        (["a", "ab"], None, "bce"),
        (["a", "b"], "bce", "bce"),
        (["a", "b"], "cross-entropy", "cross-entropy"),
    ],
)
def test_the_loss_is_found_from_the_labels(labels: list[str], asked: Loss | None, loss: Loss) -> None:
    assert choose_loss(make_examples(dataset(*labels)), asked) == loss


def test_cross_entropy_needs_one_label_an_image() -> None:
    with pytest.raises(UserError, match=r"takes one label per image, but 2 have several, 001 for one \(a, b\)"):
        choose_loss(make_examples(dataset("a", "ab", "bc")), "cross-entropy")


WORDS = st.lists(st.sets(st.sampled_from("abcde"), min_size=1, max_size=3).map(sorted).map("".join), max_size=40)


@given(WORDS, st.sampled_from([0.1, 0.2, 0.5]), st.integers(0, 3))
def test_each_class_is_on_both_sides(words: list[str], fraction: float, seed: int) -> None:
    # Every class alone on two images, and any other words beside.
    examples = make_examples(dataset(*"aabbccddee", *words))
    held = hold_out(examples, fraction, seed)
    assert examples.present[held].any(axis=0).all()
    assert examples.present[~held].any(axis=0).all()
    counts = examples.present.sum(axis=0)
    assert (examples.present[held].sum(axis=0) >= np.maximum(1, np.round(fraction * counts)) - 1).all()


def slowly_held_out(examples: Examples, fraction: float, seed: int) -> list[bool]:
    """The definition word by word, for images that all show a class."""
    held = np.zeros(len(examples.images), dtype=bool)
    hashes = [hashlib.blake2b(f"{seed}\x1f{image.image_id}".encode()).digest() for image in examples.images]
    order = sorted(range(len(hashes)), key=hashes.__getitem__)
    for column in np.argsort(examples.present.sum(axis=0), kind="stable"):
        own = [row for row in order if examples.present[row, column]]
        for row in own:
            if examples.present[held, column].sum() >= max(1, round(fraction * len(own))):
                break
            left = examples.present[~held].sum(axis=0)
            held[row] = held[row] or bool((left[examples.present[row]] > 1).all())
    return held.tolist()  # type: ignore[no-any-return]


@given(WORDS, st.sampled_from([0.1, 0.3, 0.5]), st.integers(0, 3))
def test_held_out_by_its_definition(words: list[str], fraction: float, seed: int) -> None:
    examples = make_examples(dataset(*"aabbcc", *words))
    assert hold_out(examples, fraction, seed).tolist() == slowly_held_out(examples, fraction, seed)


@given(WORDS, st.integers(2, 9), st.integers(0, 3))
def test_images_without_a_class_are_on_both_sides(words: list[str], count: int, seed: int) -> None:
    examples = make_examples(dataset(*"aabbccddee", *words, *[""] * count))
    held = hold_out(examples, 0.2, seed)
    assert held[-count:].sum() == max(1, round(0.2 * count))
    # The others are held out as without them.
    assert np.array_equal(held[:-count], hold_out(make_examples(dataset(*"aabbccddee", *words)), 0.2, seed))


def test_the_split_depends_on_ids_and_seed_alone() -> None:
    examples = make_examples(dataset(*"ab" * 50))
    held = hold_out(examples, 0.2, seed=0)
    assert held.sum() == 20
    turned = Examples(examples.images[::-1], examples.class_names, examples.present[::-1])
    assert np.array_equal(hold_out(turned, 0.2, seed=0), held[::-1])
    assert not np.array_equal(hold_out(examples, 0.2, seed=1), held)
    assert not hold_out(examples, 0, seed=0).any()


def test_a_class_keeps_an_image_to_train_on() -> None:
    # The only images of c also show a, half of which is to be held out.
    held = hold_out(make_examples(dataset("ac", "ac", "b", "b")), 0.5, seed=0)
    assert held.tolist()[:2].count(True) == 1
    assert held.tolist()[2:].count(True) == 1
