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


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"metod": "cam"}, "There is no setting 'metod'; did you mean method"),
        ({"method": "gradiant"}, "did you mean gradient"),
        ({"segmenter": "grab"}, "There is no segmenter 'grab'"),
        ({"views": "none"}, "There is no choice of views 'none'"),
        ({"smoothing": 7}, "`smoothing` must be between 0 and 0.2"),
    ],
)
def test_wrong_names_are_a_sentence(
    settings: dict[str, object], sentence: str, image: np.ndarray, network: nn.Module
) -> None:
    with pytest.raises(wsloc.UserError, match=sentence):
        wsloc.localize(image, "red", model=network, class_names=NAMES, input_size=32, **settings)  # type: ignore[arg-type]


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


def test_a_run_needs_truth_or_a_folder(network: nn.Module, image: np.ndarray) -> None:
    with pytest.raises(wsloc.UserError, match="need `truth`"):
        wsloc.evaluate(wsloc.localize(image, "red", model=network, class_names=NAMES, input_size=32))
