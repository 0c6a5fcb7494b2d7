"""What is trained and tested on, and what is refused before the first image is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_voc import image_of, interrupt_scoring, job_of, make_voc, outcome_of
from PIL import Image

from wsloc.config import ComputeSettings, DataSettings
from wsloc.errors import UserError
from wsloc.fitting.job import Job
from wsloc.fitting.opening import open_job
from wsloc.fitting.settings import FittingSettings
from wsloc.registries import DATASETS

SEVERAL = ["a", "b", "ab", "a", "b", "ab", "c", "c", "", "c", "c", ""]
SINGLE = ["a", "b", "c", "a", "b", "c", "", "a", "b"]


def test_no_data_set_is_trained_on_its_test_split() -> None:
    for name in DATASETS:
        split = DATASETS[name].train_split
        assert split is None if name == "folder" else split is not None  # own images have no splits
        assert split is None or split.startswith("train")


def test_tables_of_wsolevaluation_are_trained_on_train(tmp_path: Path) -> None:
    for split in ("train", "test"):
        tables = tmp_path / "metadata" / "made" / split
        tables.mkdir(parents=True)
        (tables / "image_ids.txt").write_text("".join(f"{split}/{number}.jpg\n" for number in range(4)))
        (tables / "class_labels.txt").write_text("".join(f"{split}/{number}.jpg,{number % 2}\n" for number in range(4)))
    settings = FittingSettings(arch="demo", input_size=32)
    job = open_job(DataSettings(dataset="wsol", root=tmp_path), None, settings, ComputeSettings(device="cpu"))
    assert [image.file for image in job.examples.images] == [f"train/{number}.jpg" for number in range(4)]


def test_images_of_other_classes_are_negatives(tmp_path: Path) -> None:
    make_voc(tmp_path, train=SEVERAL, val=["a", "c", "", "ab"])
    job = job_of(tmp_path, "val", classes=("b", "a"))
    assert job.loss == "bce"
    assert job.test is not None
    assert job.examples.class_names == ("a", "b")
    assert job.examples.present.tolist() == [["a" in word, "b" in word] for word in SEVERAL]
    assert job.test.present.tolist() == [[True, False], [False, False], [False, False], [True, True]]
    assert job.examples.left_out == job.test.left_out == 0
    # Those that show none of the classes are on both sides, too.
    nothing = ~job.examples.shows_any
    assert 0 < (nothing & job.held_out).sum() < nothing.sum()
    outcome, _ = outcome_of(job, tmp_path)
    assert outcome.test is not None
    assert len(outcome.test) == 4


def test_cross_entropy_has_no_use_for_images_without_a_class(tmp_path: Path) -> None:
    make_voc(tmp_path, train=SINGLE, val=["a", "", "c"])
    job = job_of(tmp_path, "val", val_fraction=0, classes=("a", "b"))
    assert job.loss == "cross-entropy"
    assert job.test is not None
    assert [image.image_id for image in job.examples.images] == [f"train0{number}" for number in (0, 1, 3, 4, 7, 8)]
    assert (job.examples.left_out, job.test.left_out) == (3, 2)
    assert len(job.test.images) == 1
    asked = job_of(tmp_path, "val", val_fraction=0, classes=("a", "b"), loss="bce")
    assert len(asked.examples.images) == len(SINGLE)
    assert asked.test is not None
    assert len(asked.test.images) == 3


def test_one_class_is_learned_from_images_without_it(tmp_path: Path) -> None:
    make_voc(tmp_path, train=SINGLE)
    with pytest.raises(
        UserError, match=r"All images show the one class a, .* or with `loss='bce'` .* 6 images without"
    ):
        job_of(tmp_path, classes=("a",))
    job = job_of(tmp_path, classes=("a",), loss="bce", epochs=30, patience=30)
    outcome, _ = outcome_of(job, tmp_path)
    assert outcome.history[-1].train_loss < outcome.history[0].train_loss


@pytest.mark.parametrize(("loss", "words"), [("bce", SINGLE[:5]), ("cross-entropy", ["a", "b", "a", "b", "a"])])
def test_a_limit_comes_last(tmp_path: Path, loss: str, words: list[str]) -> None:
    make_voc(tmp_path, train=SINGLE)
    job = job_of(tmp_path, classes=("a", "b"), limit=5, loss=loss, val_fraction=0)
    shown = ["".join(np.array(["a", "b"])[row]) for row in job.examples.present]
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
        job_of(tmp_path, "val", **settings)


def test_unknown_classes_are_named(tmp_path: Path) -> None:
    make_voc(tmp_path, train=SINGLE)
    with pytest.raises(UserError, match=r"`classes`: the data set has no class 'd'; it has a, b, c"):
        job_of(tmp_path, classes=("a", "d"))


@pytest.mark.parametrize("settings", [{}, {"arch": "small_cnn", "fine_tune": True}], ids=["frozen", "fine-tune"])
def test_scores_are_not_rounded(tmp_path: Path, settings: dict[str, object]) -> None:
    make_voc(tmp_path, train=SEVERAL)
    compute = ComputeSettings(device="cpu", batch_size=8, precision="bfloat16")
    job = job_of(tmp_path, compute=compute, **settings)
    outcome, _ = outcome_of(job, tmp_path)
    assert outcome.held_out is not None
    scores = torch.from_numpy(outcome.held_out.scores)
    assert not torch.equal(scores, scores.bfloat16().float())
    # The figures of the best epoch are those of its own line.
    best = outcome.history[outcome.best_epoch - 1]
    assert outcome.figures()["held_out"].mean_ap.value == best.val_map
    assert outcome.figures()["held_out"].accuracy.value == best.val_accuracy


@pytest.mark.parametrize("settings", [{}, {"arch": "small_cnn", "fine_tune": True}], ids=["frozen", "fine-tune"])
def test_each_stage_tells_how_far_it_is(tmp_path: Path, settings: dict[str, object]) -> None:
    make_voc(tmp_path, train=[*SEVERAL * 2], val=["a", "b", *["c"] * 10])
    image_of(tmp_path, "train03").write_bytes(b"no image")
    image_of(tmp_path, "val03").write_bytes(b"no image")
    job = job_of(tmp_path, "val", patience=9, **settings)
    outcome, told = outcome_of(job, tmp_path)
    assert len(outcome.problems) == 2
    frozen = not settings
    stages = list(dict.fromkeys(progress.stage for progress in told))
    assert stages == (["features", "training", "test features"] if frozen else ["training", "test"])
    for stage in stages:
        own = [progress for progress in told if progress.stage == stage]
        done = [progress.done for progress in own]
        assert done == sorted(done)
        assert len(set(done)) > 1
        assert done[-1] == own[-1].total - (stage == "test")  # one that cannot be read
    training = [progress for progress in told if progress.stage == "training"]
    assert training[0].last is None
    assert training[-1].last == outcome.history[-1]
    images = training[-1].total // 3
    assert any(progress.done % images for progress in training)  # within an epoch


def test_unreadable_images_stay_known_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_voc(tmp_path, train=SEVERAL)

    def job() -> Job:
        return job_of(tmp_path, arch="small_cnn", fine_tune=True)

    # One that is trained on: those that are held out are read again in the end.
    bad = job().examples.images[int(np.flatnonzero(~job().held_out)[0])]
    bad.path.write_bytes(b"no image")
    undisturbed, _ = outcome_of(job(), tmp_path)
    with monkeypatch.context() as patch:
        interrupt_scoring(patch)
        with pytest.raises(KeyboardInterrupt):
            outcome_of(job(), tmp_path)
    resumed, _ = outcome_of(job(), tmp_path, resumed=True)
    assert set(undisturbed.problems) == {bad.file}
    assert resumed.problems == undisturbed.problems
    assert resumed.history == undisturbed.history


def test_a_picture_that_changes_later_is_another_image(tmp_path: Path) -> None:
    from wsloc.fitting.features import images_hash

    make_voc(tmp_path, train=SINGLE)
    images = job_of(tmp_path).examples.images
    before = images_hash(images)
    assert images_hash(images) == before
    Image.new("RGB", (9, 9)).save(image_of(tmp_path, "train04"))
    assert images_hash(images) != before
