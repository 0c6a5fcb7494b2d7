"""A detector's training: it learns, it survives, and resuming changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from made_images import CLASSES, QUICK, TINY, as_dataset, write_images
from torch import Tensor

from wsloc import boxes
from wsloc.config import DataSettings
from wsloc.detection.augmentation import Example
from wsloc.detection.data import BoxedImages, from_truth
from wsloc.detection.detector_settings import DetectorSettings, TrainingSettings
from wsloc.detection.inference import detect
from wsloc.detection.labels import labels_of_truth
from wsloc.detection.learner import DetectorLearner, FittedDetector, fit_detector, make_trainer, peak_learning_rate
from wsloc.detection.models import build_detector
from wsloc.errors import UserError
from wsloc.training import loop

T = TypeVar("T")
CPU = torch.device("cpu")


@pytest.fixture
def labels(tmp_path: Path) -> BoxedImages:
    folder = tmp_path / "images"
    return from_truth(*as_dataset(folder, write_images(folder, 4)), CLASSES)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def trained(labels: BoxedImages, settings: TrainingSettings, folder: Path, stop: int | None = None) -> FittedDetector:
    """A training, which is killed after ``stop`` steps where that is given."""

    def progress(items: Iterable[T], *_: object) -> Iterator[T]:
        for count, item in enumerate(items, start=1):
            yield item
            if count == stop:
                raise KeyboardInterrupt

    folder.mkdir(exist_ok=True)
    return fit_detector(folder, labels, TINY, settings, CPU, progress=progress)


def test_the_loss_falls_and_the_boxes_come_back(labels: BoxedImages, tmp_path: Path) -> None:
    settings = replace(QUICK, epochs=50, batch_size=4, learning_rate=0.05, flip=False)
    found = trained(labels, settings, tmp_path)
    assert found.history[-1].train_loss < 0.4 * found.history[0].train_loss
    assert found.history[0].train_loss == pytest.approx(sum(found.history[0].values.values()))
    results = detect(found.model, [boxed.image for boxed in labels.images], CLASSES, CPU)
    for boxed, result in zip(labels.images, results, strict=True):
        best = {item.class_name: item.localizations[0] for item in result.items}
        for index, box in zip(boxed.classes, boxed.boxes_xyxy, strict=True):
            record = best[CLASSES[index - 1]]
            assert record.score_by("probability") > 0.5
            assert boxes.iou_matrix(box, record.box_xyxy)[0, 0] > 0.6


@pytest.mark.parametrize("decay", [0, 0.99])
def test_a_killed_training_resumes_to_the_same_bytes(
    labels: BoxedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decay: float
) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_STATES", 0)
    settings = replace(QUICK, epochs=3, zoom=0.3, gain=0.2, ema_decay=decay)
    undisturbed = trained(labels, settings, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        trained(labels, settings, tmp_path / "b", stop=5)
    assert len((tmp_path / "b" / "epochs.csv").read_text().splitlines()) == 3
    torch.rand(7)  # another process has another generator
    resumed = trained(labels, settings, tmp_path / "b")
    weights, again = undisturbed.model.state_dict(), resumed.model.state_dict()
    assert weights.keys() == again.keys()
    for name, value in weights.items():
        assert torch.equal(value, again[name]), name
    assert resumed.history == undisturbed.history
    assert (tmp_path / "a" / "epochs.csv").read_bytes() == (tmp_path / "b" / "epochs.csv").read_bytes()
    with_other_seed = trained(labels, replace(settings, seed=1), tmp_path / "c").model.state_dict()
    assert any(not torch.equal(value, with_other_seed[name]) for name, value in weights.items())
    # After the last epoch, resuming leaves a detector that can be applied.
    finished = trained(labels, settings, tmp_path / "b")
    assert all(torch.equal(value, weights[name]) for name, value in finished.model.state_dict().items())
    assert len(list(detect(finished.model, [labels.images[0].image], CLASSES, CPU))) == 1


def test_workers_change_no_bit(labels: BoxedImages, tmp_path: Path) -> None:
    settings = replace(QUICK, epochs=1, zoom=0.3, gain=0.2)
    alone = trained(labels, settings, tmp_path / "a").model.state_dict()
    (tmp_path / "b").mkdir()
    with ThreadPoolExecutor(3) as pool:
        pooled = fit_detector(tmp_path / "b", labels, TINY, settings, CPU, pool).model.state_dict()
    assert all(torch.equal(value, pooled[name]) for name, value in alone.items())


def test_an_unreadable_image_is_left_out_and_named_once(labels: BoxedImages, tmp_path: Path) -> None:
    labels.images[1].image.path.write_bytes(b"no image")
    settings = replace(QUICK, epochs=3)
    found = trained(labels, settings, tmp_path / "states")
    (sentence,) = found.problems
    assert sentence.startswith("01.png: ")
    assert [record.images for record in found.history] == [3, 3, 3]
    assert trained(labels, settings, tmp_path / "states").problems == found.problems
    for boxed in labels.images:
        boxed.image.path.unlink(missing_ok=True)
    with pytest.raises(UserError, match="None of the training images can be read"):
        trained(labels, QUICK, tmp_path / "none")


def test_a_loss_that_is_no_number_ends_it(labels: BoxedImages, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no longer finite in epoch 1; give a lower `learning_rate` than 1e\+09"):
        trained(labels, replace(QUICK, learning_rate=1e9, warmup_steps=0), tmp_path)


def test_a_huge_gradient_moves_the_weights_no_farther_than_the_limit(labels: BoxedImages) -> None:
    model = build_detector(TINY, CLASSES)
    trainer = make_trainer(model, labels, TINY, replace(QUICK, momentum=0, weight_decay=0, warmup_steps=0), CPU)
    before = [value.detach().clone() for value in model.parameters()]

    class Huge(DetectorLearner):
        def losses(self, batch: list[Example]) -> dict[str, Tensor]:
            return {name: 1e6 * loss for name, loss in super().losses(batch).items()}

    trainer.learner = Huge(model, labels, QUICK, CPU)
    next(loop.train(trainer))
    moved = [(own.detach() - old).square().sum() for own, old in zip(model.parameters(), before, strict=True)]
    assert torch.stack(moved).sum().sqrt().item() == pytest.approx(0.01 * 10, rel=1e-3)


@pytest.mark.slow
def test_the_default_learning_rate_stands_weights_with_folded_batch_normalization(shared: Path) -> None:
    """Without a limit to the gradient, the loss was above 60 in the 11th step, and not finite in the 14th."""
    boxed = labels_of_truth(DataSettings(dataset="voc", root=shared, split="train", limit=96)).boxed
    weights = str(shared / "weights" / "mobilenet_v2.pth")
    detector = DetectorSettings("fasterrcnn_mobilenet_v2_320_fpn", weights, image_size=224)
    model = build_detector(detector, boxed.class_names)
    trainer = make_trainer(model, boxed, detector, TrainingSettings(epochs=4, device="cpu"), CPU)
    assert max(step.loss for step in islice(loop.train(trainer), 14)) < 20


def test_a_state_of_another_detector_is_refused(labels: BoxedImages, tmp_path: Path) -> None:
    trained(labels, QUICK, tmp_path)
    other = replace(labels, class_names=("red", "green", "blue"))
    with pytest.raises(UserError, match="is of another training"):
        trained(other, QUICK, tmp_path)


def test_the_learning_rate_by_hand(labels: BoxedImages) -> None:
    model = build_detector(TINY, CLASSES)
    settings = TrainingSettings(epochs=10, batch_size=2, learning_rate=0.3, warmup_steps=4)
    trainer = make_trainer(model, labels, TINY, settings, CPU)
    assert trainer.steps_left == 20
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.3 * 0.001)
    assert peak_learning_rate(TrainingSettings(batch_size=4), TINY) == pytest.approx(0.01)
    assert peak_learning_rate(TrainingSettings(learning_rate=0.3), TINY) == 0.3


def test_half_precision_of_cuda_is_refused_on_the_cpu(labels: BoxedImages, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`precision='float16'` is for CUDA"):
        trained(labels, replace(QUICK, precision="float16"), tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_mixed_precision_on_cuda(labels: BoxedImages, tmp_path: Path) -> None:
    settings = replace(QUICK, device="cuda", epochs=30, batch_size=4, learning_rate=0.05)
    found = fit_detector(tmp_path, labels, TINY, settings, torch.device("cuda"))
    assert found.history[-1].train_loss < 0.6 * found.history[0].train_loss
