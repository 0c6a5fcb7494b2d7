"""What ``import wsloc`` offers, used as a person would from Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import wsloc

NAMES = ("red", "green", "blue")


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_every_name_is_there_and_torch_is_not_loaded_for_them() -> None:
    code = (
        "import sys, wsloc; names = dir(wsloc); assert 'localize' in names; assert 'torch' not in sys.modules; "
        "assert all(getattr(wsloc, name) is not None for name in wsloc.__all__); print(wsloc.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == wsloc.__version__


@pytest.mark.parametrize("arguments", [["--version"], ["localise"]])
def test_python_runs_the_package_as_the_command_does(arguments: list[str]) -> None:
    command = [sys.executable, "-c", "import sys; from wsloc.cli.main import main; sys.exit(main())"]
    mine, its = (
        subprocess.run([*start, *arguments], capture_output=True, text=True, check=False)
        for start in ([sys.executable, "-m", "wsloc"], command)
    )
    assert (mine.returncode, mine.stdout, mine.stderr) == (its.returncode, its.stdout, its.stderr)
    assert (mine.stdout + mine.stderr).startswith("wsloc")


@pytest.mark.parametrize("kind", ["array", "path", "str", "bytes"])
def test_an_image_comes_in_many_ways(kind: str, image: np.ndarray, network: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(image).save(file)
    given = {"array": image, "path": file, "str": str(file), "bytes": file.read_bytes()}[kind]
    found = wsloc.localize(given, "red", model=network, class_names=NAMES, input_size=32, segmenter="threshold")
    expected = wsloc.localize(image, "red", model=network, class_names=NAMES, input_size=32, segmenter="threshold")
    assert found.boxes_xyxy.tolist() == expected.boxes_xyxy.tolist()
    assert found.class_names == ("red",)
    assert found.boxes_xyxy.shape == (1, 4)
    assert found.scores.shape == (1,)
    (mask,) = found.masks
    assert mask is not None
    assert mask.shape == (40, 60)
    x0, y0, x1, y1 = found.boxes_xyxy[0].round().astype(int)
    ys, xs = np.nonzero(mask)
    # The mask was made at the image's own size here, so that its box is the box.
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (x0, y0, x1, y1)


def test_classes_of_each_image(image: np.ndarray, network: nn.Module) -> None:
    settings = {"class_names": NAMES, "input_size": 32, "segmenter": "threshold"}
    images = [image, image[:, ::-1].copy(), image[::-1].copy()]
    every = wsloc.localize(images, ["red", "blue"], model=network, **settings)
    assert every.class_names == ("red", "blue") * 3
    assert every.image_index.tolist() == [0, 0, 1, 1, 2, 2]
    own = wsloc.localize(images, [["red"], ["blue", "green"], []], model=network, **settings)
    assert own.class_names == ("red", "blue", "green")
    assert [len(own.of_image(index)) for index in range(3)] == [1, 2, 0]
    best = wsloc.localize(images, model=network, **settings)
    assert len(best) == 3
    with pytest.raises(wsloc.UserError, match="3 images, but classes for 2"):
        wsloc.localize(images, [["red"], ["blue"]], model=network, **settings)


def test_results_show_themselves(image: np.ndarray, network: nn.Module) -> None:
    bad = np.zeros((4, 4, 3), dtype=np.uint8)
    found = wsloc.localize([image, bad], "red", model=network, class_names=NAMES, input_size=32)
    assert repr(found).startswith("Localizations(1 box in 2 images, 1 failure)\n  red ")
    picture = found._repr_png_()
    assert picture is not None
    assert picture.startswith(b"\x89PNG")
    assert wsloc.localize(bad, "red", model=network, class_names=NAMES, input_size=32)._repr_png_() is None


def test_results_convert_to_supervision(image: np.ndarray, network: nn.Module) -> None:
    pytest.importorskip("supervision")
    settings = {"class_names": NAMES, "input_size": 32, "segmenter": "threshold"}
    found = wsloc.localize([image, image], ["blue", "red"], model=network, **settings)
    detections = found.of_image(0).to_supervision()
    np.testing.assert_allclose(detections.xyxy, found.boxes_xyxy[:2], atol=1e-4)
    assert detections.confidence.tolist() == pytest.approx(found.scores[:2].tolist(), abs=1e-6)
    assert detections.class_id.tolist() == [0, 1]
    assert detections["class_name"].tolist() == ["blue", "red"]
    for ours, theirs in zip(found.masks[:2], detections.mask, strict=True):
        assert np.array_equal(ours, theirs)
    with pytest.raises(wsloc.UserError, match="boxes of one image"):
        found.to_supervision()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"metod": "cam"}, "There is no setting 'metod'; did you mean method"),
        ({"method": "gradiant"}, "did you mean gradient"),
        ({"segmenter": "grab"}, "There is no segmenter 'grab'"),
        ({"views": "none"}, "There is no choice of views 'none'"),
        ({"smoothing": 7}, "`smoothing` must be between 0 and 0.2"),
        ({"components": 0}, "`components` must be all or a whole number of at least 1, not 0"),
        ({"components": "each"}, "`components` must be all or a whole number of at least 1, not 'each'"),
    ],
)
def test_wrong_names_are_a_sentence(
    settings: dict[str, object], sentence: str, image: np.ndarray, network: nn.Module
) -> None:
    with pytest.raises(wsloc.UserError, match=sentence):
        wsloc.localize(image, "red", model=network, class_names=NAMES, input_size=32, **settings)  # type: ignore[arg-type]


def test_all_components(image: np.ndarray, network: nn.Module) -> None:
    settings = {"model": network, "class_names": NAMES, "input_size": 32, "segmenter": "threshold", "smoothing": 0}
    one = wsloc.localize(image, "red", **settings)
    every = wsloc.localize(image, "red", **settings, components="all", component_area_fraction=0)
    assert len(one) == 1 < len(every)
    assert every.records[0].box_xyxy == one.records[0].box_xyxy
    assert [record.index for record in every.records] == list(range(len(every)))


@pytest.mark.parametrize("method", ["gradient", "cam", "grad-cam"])
def test_maps_of_a_batch_are_those_of_its_images(method: str, network: nn.Module) -> None:
    batch = torch.randn((3, 3, 24, 32), generator=torch.Generator().manual_seed(1))
    maps = wsloc.saliency_map(network, batch, 1, method)
    assert maps.shape == (3, 24, 32)
    for index in range(3):
        alone = wsloc.saliency_map(network, batch[index : index + 1], 1, method)
        torch.testing.assert_close(maps[index], alone[0], rtol=0, atol=1e-6)
    if method == "gradient":
        inputs = batch.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(network(inputs)[:, 1].sum(), inputs)
        torch.testing.assert_close(maps, gradient.abs().amax(dim=1))


def test_the_map_of_an_image(image: np.ndarray, network: nn.Module) -> None:
    by_index = wsloc.saliency_map(network, image, 2, input_size=32)
    assert by_index.shape == (32, 32)
    assert by_index.dtype == np.float32
    with pytest.raises(wsloc.UserError, match="no output 3: it has 3"):
        wsloc.saliency_map(network, image, 3, input_size=32)
    gray = wsloc.saliency_map(network, image[:, :, 0], 1, input_size=32)
    assert np.array_equal(gray, wsloc.saliency_map(network, image[:, :, [0, 0, 0]].copy(), 1, input_size=32))
    with pytest.raises(wsloc.ItemError, match="the image is float64"):
        wsloc.saliency_map(network, image / 255, 1, input_size=32)


def test_the_main_job_and_what_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = wsloc.LocalizeConfig(
        data=wsloc.DataSettings(dataset="demo", limit=6),
        classifier=wsloc.ClassifierSettings(arch="demo"),
        segmentation=wsloc.SegmentationSettings(segmenter="threshold"),
        output=wsloc.OutputSettings(out=Path("run")),
    )
    done = wsloc.run(config)
    assert done.path == Path("run")
    assert len(done.boxes) >= 6
    assert "CorLoc class-wise" in repr(done)
    assert wsloc.evaluate("run") == done.evaluation
    dataset = wsloc.open_dataset(config.data)
    found = wsloc.localize(dataset, model="demo", segmenter="threshold")
    assert found.boxes_xyxy.tolist() == [list(record.box_xyxy) for record in done.boxes]
    truth = wsloc.read_ground_truth(config.data, dataset)
    assert truth is not None
    assert wsloc.evaluate(found, truth.images) == done.evaluation
    export = wsloc.export("run", "yolo", boxes_per_class=1)
    assert (export.path / "data.yaml").is_file()
    with pytest.raises(wsloc.UserError, match="no setting 'min_skore' of an export"):
        wsloc.export("run", "yolo", min_skore=1)
    page = wsloc.report("run")
    assert page == Path("run/report.html")
    assert page.is_file()


def test_a_run_of_some_classes_is_judged_on_them_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = wsloc.run(
        wsloc.LocalizeConfig(
            data=wsloc.DataSettings(dataset="demo", limit=4, classes=("cat",)),
            classifier=wsloc.ClassifierSettings(arch="demo"),
            segmentation=wsloc.SegmentationSettings(segmenter="threshold"),
            output=wsloc.OutputSettings(out=Path("run")),
        )
    )
    again = wsloc.evaluate("run")
    assert again is not None
    assert [scores.class_name for scores in again.classes] == ["cat"]
    assert again == done.evaluation


def test_a_run_needs_truth_or_a_folder(network: nn.Module, image: np.ndarray) -> None:
    with pytest.raises(wsloc.UserError, match="need `truth`"):
        wsloc.evaluate(wsloc.localize(image, "red", model=network, class_names=NAMES, input_size=32))


DEMO = {"dataset": "demo", "limit": 20, "device": "cpu"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the demo, which takes seconds to make."""
    return tmp_path_factory.mktemp("demo")


def test_a_classifier_is_trained_and_localizes(scenes: Path, tmp_path: Path) -> None:
    trained = wsloc.train_classifier(**DEMO, root=str(scenes), arch="demo", epochs=1, out=str(tmp_path / "net"))
    assert trained.path == tmp_path / "net"
    assert trained.checkpoint == tmp_path / "net" / "classifier.safetensors"
    assert repr(trained).startswith(f"TrainedClassifier({str(trained.path)!r})\nEpoch 1 of 1 is the best")
    assert "held out: mAP " in repr(trained)
    assert (trained.path / "config.yaml").read_text().startswith("dataset: demo\n")
    scene = wsloc.open_dataset(wsloc.DataSettings(dataset="demo", root=scenes)).images[0]
    found = wsloc.localize(str(scene.path), scene.labels[0], model=trained.checkpoint, method="cam")
    assert found.class_names == scene.labels[:1]
    again = {"out": tmp_path / "net", "arch": "demo", "epochs": 1, "root": scenes}
    with pytest.raises(wsloc.UserError, match="`resume=True` to continue it, or `overwrite=True`"):
        wsloc.train_classifier(**DEMO, **again)


@pytest.fixture(scope="module")
def detector(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> wsloc.TrainedDetector:
    return wsloc.train_detector(
        "truth", **DEMO, root=str(scenes), split="train", test_split="test", test_limit=6,
        arch="fasterrcnn_small_cnn", image_size=64, epochs=1, batch_size=4,
        out=tmp_path_factory.mktemp("detector") / "run",
    )  # fmt: skip


def test_a_detector_is_trained_and_tested(detector: wsloc.TrainedDetector) -> None:
    assert detector.detector == detector.path / "detector.safetensors"
    assert detector.detector.is_file()
    assert detector.average_precision is not None
    assert all(0 <= value <= 1 for value in detector.average_precision.values())
    assert repr(detector).startswith(f"TrainedDetector({str(detector.path)!r}, 1 epoch)\naverage precision; percent\n")
    assert wsloc.evaluate(detector.path) is not None


@pytest.mark.parametrize("kind", ["dataset", "path", "str", "bytes", "array"])
def test_detect_finds_what_the_test_found(kind: str, scenes: Path, detector: wsloc.TrainedDetector) -> None:
    dataset = wsloc.open_dataset(wsloc.DataSettings(dataset="demo", root=scenes, split="test", limit=6))
    files = [image.path for image in dataset.images]
    of_kind = {
        "dataset": dataset,
        "path": files,
        "str": [str(file) for file in files],
        "bytes": [file.read_bytes() for file in files],
        "array": [wsloc.read_image(file) for file in files],
    }
    found = wsloc.detect(str(detector.detector), of_kind[kind], min_score=0, batch_size=4, device="cpu")  # type: ignore[arg-type]
    written = wsloc.read_run(detector.path).localizations
    assert len(written) > 0
    assert found.boxes_xyxy.tolist() == [list(record.box_xyxy) for record in written]
    assert found.class_names == tuple(record.class_name for record in written)
    median = float(np.median(found.scores))
    kept = wsloc.detect(detector.detector, of_kind[kind], min_score=median, batch_size=4, device="cpu")  # type: ignore[arg-type]
    assert kept.scores.tolist() == [score for score in found.scores if score >= median]


def test_detect_writes_nothing_and_reports_bad_images(
    detector: wsloc.TrainedDetector, image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = wsloc.detect(detector.detector, [image, b"no picture", image], device="cpu")
    assert [failure.image_id for failure in found.failures] == ["image 1"]
    assert list(tmp_path.iterdir()) == []


def test_wrong_settings_of_training_and_detecting_are_a_sentence(
    detector: wsloc.TrainedDetector, image: np.ndarray
) -> None:
    with pytest.raises(wsloc.UserError, match="There is no setting 'epoch'; did you mean epochs"):
        wsloc.train_classifier(dataset="demo", epoch=1)
    with pytest.raises(wsloc.UserError, match="There is no setting 'learnin_rate'; did you mean learning_rate"):
        wsloc.train_detector("truth", dataset="demo", learnin_rate=1)
    with pytest.raises(wsloc.UserError, match="There is no setting 'masks'"):
        wsloc.train_classifier(dataset="demo", masks="masks")  # Image-level labels are all that it reads.
    with pytest.raises(wsloc.UserError, match=r"`loss` must be one of bce, cross-entropy, not 'bse'; did you mean bce"):
        wsloc.train_classifier(dataset="demo", loss="bse")
    with pytest.raises(wsloc.UserError, match="give `dataset='NAME'`"):
        wsloc.train_classifier(epochs=1)
    with pytest.raises(wsloc.UserError, match="`resume` and `overwrite` exclude each other"):
        wsloc.train_detector("truth", dataset="demo", resume=True, overwrite=True)
    with pytest.raises(wsloc.UserError, match="`min_score` must be between 0 and 1"):
        wsloc.detect(detector.detector, image, min_score=7)
    with pytest.raises(wsloc.UserError, match="`device` must be one of auto, cpu, cuda, mps"):
        wsloc.detect(detector.detector, image, device="gpu")
    with pytest.raises(wsloc.UserError, match="is not a readable safetensors file"):
        wsloc.detect("gone.safetensors", image)
