"""What is trained and tested on, and what is refused before the first image is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from made_voc import image_of, make_voc, outcome_of, task_of
from PIL import Image

from wsloc.config import ComputeSettings, DataSettings
from wsloc.errors import UserError
from wsloc.fitting.fit import fit
from wsloc.fitting.fitting_settings import FittingSettings, TrainClassifierConfig
from wsloc.fitting.open_task import open_task
from wsloc.fitting.task import ClassifierTask
from wsloc.registries import DATASETS
from wsloc.training.loop import Step

T = TypeVar("T")

SEVERAL = ["a", "b", "ab", "a", "b", "ab", "c", "c", "", "c", "c", ""]
SINGLE = ["a", "b", "c", "a", "b", "c", "", "a", "b"]


def test_no_data_set_is_trained_on_its_test_split() -> None:
    for name in DATASETS:
        split = DATASETS[name].train_split
        assert (split is None) == (name in ("folder", "webdataset"))  # own images have no splits
        assert split is None or split.startswith("train")


def test_tables_of_wsolevaluation_are_trained_on_train(tmp_path: Path) -> None:
    for split in ("train", "test"):
        tables = tmp_path / "metadata" / "made" / split
        tables.mkdir(parents=True)
        (tables / "image_ids.txt").write_text("".join(f"{split}/{number}.jpg\n" for number in range(4)))
        (tables / "class_labels.txt").write_text("".join(f"{split}/{number}.jpg,{number % 2}\n" for number in range(4)))
    settings = FittingSettings(arch="demo", input_size=32)
    task = open_task(DataSettings(dataset="wsol", root=tmp_path), None, settings, ComputeSettings(device="cpu"))
    assert [image.file for image in task.examples.images] == [f"train/{number}.jpg" for number in range(4)]


def test_own_images_are_trained_and_tested_on_by_the_folders_of_their_splits(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for folder in ("train/cat", "train/dog", "train/.ipynb_checkpoints", "val/cat", "val/dog", "__MACOSX/train/cat"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(4):
            pixels = generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    data, settings = DataSettings(dataset="folder", root=tmp_path), FittingSettings(arch="demo", input_size=32)
    with pytest.raises(UserError, match=r"holds the split folders train, val, which are no classes; choose one: "):
        open_task(data, None, settings, ComputeSettings(device="cpu"))
    task = open_task(replace(data, split="train"), "val", settings, ComputeSettings(device="cpu"))
    assert task.examples.class_names == ("cat", "dog")
    assert task.test is not None
    assert [{image.file.partition("/")[0] for image in own.images} for own in (task.examples, task.test)] == [
        {"train"},
        {"val"},
    ]
    with pytest.raises(UserError, match="`test_split` names a folder of class folders beside that of `split`"):
        TrainClassifierConfig(data=data, test_split="val")


def test_images_of_other_classes_are_negatives(tmp_path: Path) -> None:
    make_voc(tmp_path, train=SEVERAL, val=["a", "c", "", "ab"])
    task = task_of(tmp_path, "val", classes=("b", "a"))
    assert task.loss == "bce"
    assert task.test is not None
    assert task.examples.class_names == ("a", "b")
    assert task.examples.present.tolist() == [["a" in word, "b" in word] for word in SEVERAL]
    assert task.test.present.tolist() == [[True, False], [False, False], [False, False], [True, True]]
    assert task.examples.left_out == task.test.left_out == 0
    # Those that show none of the classes are on both sides, too.
    nothing = ~task.examples.shows_any
    assert 0 < (nothing & task.held_out).sum() < nothing.sum()
    outcome = outcome_of(task, tmp_path)
    assert outcome.test is not None
    assert len(outcome.test) == 4


def test_cross_entropy_has_no_use_for_images_without_a_class(tmp_path: Path) -> None:
    make_voc(tmp_path, train=SINGLE, val=["a", "", "c"])
    task = task_of(tmp_path, "val", val_fraction=0, classes=("a", "b"))
    assert task.loss == "cross-entropy"
    assert task.test is not None
    assert [image.image_id for image in task.examples.images] == [f"train0{number}" for number in (0, 1, 3, 4, 7, 8)]
    assert (task.examples.left_out, task.test.left_out) == (3, 2)
    assert len(task.test.images) == 1
    asked = task_of(tmp_path, "val", val_fraction=0, classes=("a", "b"), loss="bce")
    assert len(asked.examples.images) == len(SINGLE)
    assert asked.test is not None
    assert len(asked.test.images) == 3


def test_one_class_is_learned_from_images_without_it(tmp_path: Path) -> None:
    make_voc(tmp_path, train=SINGLE)
    with pytest.raises(
        UserError, match=r"All images show the one class a, .* or with `loss='bce'` .* 6 images without"
    ):
        task_of(tmp_path, classes=("a",))
    task = task_of(tmp_path, classes=("a",), loss="bce", epochs=30, patience=30)
    outcome = outcome_of(task, tmp_path)
    assert outcome.history[-1].train_loss < outcome.history[0].train_loss


@pytest.mark.parametrize(("loss", "words"), [("bce", SINGLE[:5]), ("cross-entropy", ["a", "b", "a", "b", "a"])])
def test_a_limit_comes_last(tmp_path: Path, loss: str, words: list[str]) -> None:
    make_voc(tmp_path, train=SINGLE)
    task = task_of(tmp_path, classes=("a", "b"), limit=5, loss=loss, val_fraction=0)
    shown = ["".join(np.array(["a", "b"])[row]) for row in task.examples.present]
    assert shown == [word.strip("c") for word in words]


@pytest.mark.parametrize("settings", [{}, {"arch": "small_cnn", "fine_tune": True}], ids=["frozen", "fine-tune"])
@pytest.mark.parametrize("words", [SEVERAL, SINGLE], ids=["bce", "cross-entropy"])
def test_a_test_split_without_a_trained_class_is_refused(
    tmp_path: Path, words: list[str], settings: dict[str, object]
) -> None:
    make_voc(tmp_path, train=words, val=["d", "", "d"])
    with pytest.raises(
        UserError, match=r"None of the 3 images of `test_split='val'` shows a class that is trained \(a"
    ):
        task_of(tmp_path, "val", **settings)


def test_unknown_classes_are_named(tmp_path: Path) -> None:
    make_voc(tmp_path, train=SINGLE)
    with pytest.raises(UserError, match=r"`classes`: the data set has no class 'd'; it has a, b, c"):
        task_of(tmp_path, classes=("a", "d"))


@pytest.mark.parametrize("settings", [{}, {"arch": "small_cnn", "fine_tune": True}], ids=["frozen", "fine-tune"])
def test_scores_are_not_rounded(tmp_path: Path, settings: dict[str, object]) -> None:
    make_voc(tmp_path, train=SEVERAL)
    compute = ComputeSettings(device="cpu", batch_size=8, precision="bfloat16")
    task = task_of(tmp_path, compute=compute, **settings)
    outcome = outcome_of(task, tmp_path)
    assert outcome.held_out is not None
    scores = torch.from_numpy(outcome.held_out.scores)
    assert not torch.equal(scores, scores.bfloat16().float())
    # The figures of the best epoch are those of its own line.
    best = outcome.history[outcome.best_epoch - 1]
    assert outcome.figures()["held_out"].mean_ap.value == best.values["val_map"]
    assert outcome.figures()["held_out"].accuracy.value == best.values["val_accuracy"]


@pytest.mark.parametrize("settings", [{}, {"arch": "small_cnn", "fine_tune": True}], ids=["frozen", "fine-tune"])
def test_each_stage_tells_how_far_it_is(tmp_path: Path, settings: dict[str, object]) -> None:
    make_voc(tmp_path, train=[*SEVERAL * 2], val=["a", "b", *["c"] * 10])
    image_of(tmp_path, "train03").write_bytes(b"no image")
    image_of(tmp_path, "val03").write_bytes(b"no image")
    told: dict[str, list[object]] = {}
    totals: dict[str, tuple[str, int | None]] = {}

    def watch(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterator[T]:
        told[what], totals[what] = [], (unit, total)
        for item in items:
            told[what].append(item)
            yield item

    task = task_of(tmp_path, "val", patience=9, **settings)
    outcome = outcome_of(task, tmp_path, watch)
    assert len(outcome.problems) == 2
    learned = int((~task.held_out).sum()) - (not settings and not task.held_out[3])
    steps = learned // 8 + (learned % 8 > 1)  # no batch of one
    expected: dict[str, tuple[str, int | None]] = {"training": ("step", 3 * steps), "test": ("batch", 2)}
    if not settings:
        expected = {"features": ("image", 24), "training": ("step", 3 * steps), "test features": ("image", 12)}
    assert totals == expected
    assert list(totals) == list(expected)
    assert {what: len(items) for what, items in told.items()} == {what: total for what, (_, total) in expected.items()}
    training = [step for step in told["training"] if isinstance(step, Step)]
    assert [step.epoch for step in training] == sorted(step.epoch for step in training)
    assert training[0].last is None
    assert training[-1].last == outcome.history[1]


def test_unreadable_images_stay_known_after_a_kill(tmp_path: Path) -> None:
    make_voc(tmp_path, train=SEVERAL)

    def tuned() -> ClassifierTask:
        return task_of(tmp_path, arch="small_cnn", fine_tune=True)

    def kill(items: Iterable[T], *_: object) -> Iterator[T]:
        """After the last epoch."""
        yield from items
        raise KeyboardInterrupt

    # One that is trained on: those that are held out are read again in the end.
    bad = tuned().examples.images[int(np.flatnonzero(~tuned().held_out)[0])]
    bad.path.write_bytes(b"no image")
    (tmp_path / "other").mkdir()
    undisturbed = fit(tuned(), tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        outcome_of(tuned(), tmp_path, kill)
    resumed = outcome_of(tuned(), tmp_path)
    assert set(undisturbed.problems) == {bad.file}
    assert resumed.problems == undisturbed.problems
    assert resumed.history == undisturbed.history


def test_a_picture_that_changes_later_is_another_image(tmp_path: Path) -> None:
    from wsloc.fitting.features import images_hash

    make_voc(tmp_path, train=SINGLE)
    images = task_of(tmp_path).examples.images
    before = images_hash(images)
    assert images_hash(images) == before
    Image.new("RGB", (9, 9)).save(image_of(tmp_path, "train04"))
    assert images_hash(images) != before
