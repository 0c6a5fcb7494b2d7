"""Training: it learns, it survives, and going on is as if nothing had happened."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_images import CLASSES, QUICK, TINY, as_dataset, write_images

from wsloc import boxes
from wsloc.detection.checkpoint import TrainingState, read_state
from wsloc.detection.data import BoxedImages, from_truth
from wsloc.detection.inference import detect
from wsloc.detection.loop import (
    EpochRecord,
    StepRecord,
    TrainingLog,
    learning_rate_fraction,
    peak_learning_rate,
    train,
)
from wsloc.detection.models import build_detector
from wsloc.detection.settings import TrainingSettings
from wsloc.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def labels(tmp_path: Path) -> BoxedImages:
    folder = tmp_path / "images"
    return from_truth(*as_dataset(folder, write_images(folder, 4)), CLASSES)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def trained(
    labels: BoxedImages,
    settings: TrainingSettings,
    folder: Path | None = None,
    state: TrainingState | None = None,
    stop_at: tuple[int, int] | None = None,
) -> tuple[dict[str, torch.Tensor], TrainingLog]:
    """The weights after a training, which is killed after step ``stop_at`` (epoch, step) where that is given."""
    model = build_detector(TINY, labels.class_names, settings.seed)
    log = TrainingLog([], [])
    for record in train(model, labels, TINY, settings, CPU, log, folder=folder, state=state):
        if isinstance(record, StepRecord) and (record.epoch, record.step) == stop_at:
            break
    return model.state_dict(), log


def test_the_loss_falls_and_the_boxes_come_back(labels: BoxedImages) -> None:
    settings = replace(QUICK, epochs=50, batch_size=4, learning_rate=0.05, flip=False)
    model = build_detector(TINY, CLASSES)
    log = TrainingLog([], [])
    records = list(train(model, labels, TINY, settings, CPU, log))
    assert [record for record in records if isinstance(record, EpochRecord)] == log.epochs
    first, last = (sum(log.epochs[place].losses.values()) for place in (0, -1))
    assert last < 0.4 * first
    for boxed, result in zip(
        labels.images, detect(model, [boxed.image for boxed in labels.images], CLASSES, CPU), strict=True
    ):
        best = {item.class_name: item.localizations[0] for item in result.items}
        for number, box in zip(boxed.classes, boxed.boxes_xyxy, strict=True):
            record = best[CLASSES[number - 1]]
            assert record.score_by("probability") > 0.5
            assert boxes.iou_matrix(box, record.box_xyxy)[0, 0] > 0.6


def test_a_killed_training_goes_on_to_the_same_bytes(labels: BoxedImages, tmp_path: Path) -> None:
    settings = replace(QUICK, epochs=3, zoom=0.3, gain=0.2)
    undisturbed, log = trained(labels, settings, tmp_path / "a")
    trained(labels, settings, tmp_path / "b", stop_at=(3, 1))
    state = read_state(tmp_path / "b")
    assert state is not None
    assert state.epoch == 2
    torch.rand(7)  # another process has another generator
    resumed, log_of_resumed = trained(labels, settings, tmp_path / "b", state)
    assert undisturbed.keys() == resumed.keys()
    for name, value in undisturbed.items():
        assert torch.equal(value, resumed[name]), name
    assert log_of_resumed.epochs == log.epochs
    of_both = [(tmp_path / name / "epoch-0003.safetensors").read_bytes() for name in ("a", "b")]
    assert of_both[0] == of_both[1]
    # Only the newest state is kept.
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "epoch-0003.optimizer.pt",
        "epoch-0003.safetensors",
    ]
    with_other_seed, _ = trained(labels, replace(settings, seed=1))
    assert any(not torch.equal(value, with_other_seed[name]) for name, value in undisturbed.items())


def test_going_on_after_the_last_epoch_leaves_a_detector_that_can_be_asked(labels: BoxedImages, tmp_path: Path) -> None:
    weights, _ = trained(labels, QUICK, tmp_path)
    model = build_detector(TINY, CLASSES)
    state = read_state(tmp_path)
    assert list(train(model, labels, TINY, QUICK, CPU, TrainingLog([], []), state=state)) == []
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert len(list(detect(model, [labels.images[0].image], CLASSES, CPU))) == 1


def test_the_momentum_is_part_of_the_state(labels: BoxedImages, tmp_path: Path) -> None:
    settings = replace(QUICK, epochs=2)
    undisturbed, _ = trained(labels, settings, tmp_path)
    trained(labels, settings, tmp_path / "b", stop_at=(2, 1))
    state = read_state(tmp_path / "b")
    assert state is not None
    for momentum in state.optimizer["optimizer"]["state"].values():
        momentum["momentum_buffer"].zero_()
    without, _ = trained(labels, settings, None, state)
    assert any(not torch.equal(value, without[name]) for name, value in undisturbed.items())


def test_an_unreadable_image_is_left_out_and_named_once(labels: BoxedImages, tmp_path: Path) -> None:
    labels.images[1].image.path.write_bytes(b"no image")
    _, log = trained(labels, replace(QUICK, epochs=3), tmp_path / "states")
    assert [failure.file for failure in log.failures] == ["01.png"]
    assert log.failures[0].stage == "read"
    assert [record.images for record in log.epochs] == [3, 3, 3]
    state = read_state(tmp_path / "states")
    assert state is not None
    _, again = trained(labels, replace(QUICK, epochs=3), None, state)
    assert again.failures == log.failures
    for boxed in labels.images:
        boxed.image.path.unlink(missing_ok=True)
    with pytest.raises(UserError, match="None of the 4 images can be read"):
        trained(labels, QUICK)


def test_a_loss_that_is_no_number_ends_it(labels: BoxedImages) -> None:
    with pytest.raises(UserError, match=r"no longer a number in epoch 1; give a lower `learning_rate` than 1e\+09"):
        trained(labels, replace(QUICK, learning_rate=1e9, warmup_steps=0))


def test_a_state_of_another_detector_is_refused(labels: BoxedImages, tmp_path: Path) -> None:
    trained(labels, QUICK, tmp_path)
    state = read_state(tmp_path)
    assert state is not None
    other = build_detector(TINY, ("a", "b", "c"))
    with pytest.raises(UserError, match="weights of another detector"):
        list(train(other, labels, TINY, QUICK, CPU, TrainingLog([], []), state=state))
    model = build_detector(TINY, CLASSES)
    bare = TrainingState(1, state.model, {}, state.log)
    with pytest.raises(UserError, match="is of another training"):
        list(train(model, labels, TINY, QUICK, CPU, TrainingLog([], []), state=bare))


def test_the_learning_rate_by_hand() -> None:
    fractions = [learning_rate_fraction(step, 20, 4) for step in range(20)]
    assert fractions[0] == pytest.approx(0.001)
    assert fractions[2] == pytest.approx((0.001 + 0.999 / 2) * 0.5 * (1 + math.cos(math.pi / 10)))
    assert fractions[10] == pytest.approx(0.5)
    assert np.argmax(fractions) == 4
    assert learning_rate_fraction(0, 20, 0) == 1
    assert learning_rate_fraction(5, 100, None) == pytest.approx(0.5005 * 0.5 * (1 + math.cos(math.pi / 20)))
    assert peak_learning_rate(TrainingSettings(batch_size=4), TINY) == pytest.approx(0.01)
    assert peak_learning_rate(TrainingSettings(learning_rate=0.3), TINY) == 0.3


def test_half_precision_of_cuda_is_refused_on_the_cpu(labels: BoxedImages) -> None:
    with pytest.raises(UserError, match="`precision='float16'` is for CUDA"):
        trained(labels, replace(QUICK, precision="float16"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_mixed_precision_on_cuda(labels: BoxedImages) -> None:
    model = build_detector(TINY, CLASSES)
    log = TrainingLog([], [])
    settings = replace(QUICK, device="cuda", epochs=30, batch_size=4, learning_rate=0.05)
    list(train(model, labels, TINY, settings, torch.device("cuda"), log))
    assert sum(log.epochs[-1].losses.values()) < 0.6 * sum(log.epochs[0].losses.values())
