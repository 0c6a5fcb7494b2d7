from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.transforms as T  # noqa: N812 (its own documentation's name)
from numpy.typing import NDArray
from PIL import Image

from wsloc.classifiers import VIEWS, Preprocessing
from wsloc.classifiers.preprocessing import IMAGENET_MEAN, IMAGENET_STD, mirror, multi_scale, ten_crop, whole
from wsloc.errors import ItemError


def _image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image_hw", "input_hw", "resize", "whole_hw", "ten_crop_hw"),
    [
        ((100, 200), (224, 224), "squash", (224, 224), (256, 256)),
        ((100, 200), (224, 224), "short-side", (224, 448), (256, 512)),
        ((200, 100), (224, 224), "short-side", (448, 224), (512, 256)),
        ((500, 375), (112, 112), "short-side", (144, 112), (171, 128)),  # 149.3 to a multiple of 16, 170.7
        ((33, 33), (112, 112), "short-side", (112, 112), (128, 128)),
        ((300, 400), (299, 299), "short-side", (299, 400), (342, 456)),  # 299 is no multiple of 16; 398.7, 341.7
        ((400, 300), (299, 299), "short-side", (400, 299), (456, 342)),
        ((33, 77), (70, 35), "squash", (70, 35), (80, 40)),
        ((8, 64), (16, 16), "short-side", (16, 128), (18, 144)),  # 18.3
    ],
)
def test_sizes(
    image_hw: tuple[int, int],
    input_hw: tuple[int, int],
    resize: str,
    whole_hw: tuple[int, int],
    ten_crop_hw: tuple[int, int],
) -> None:
    preprocessing = Preprocessing(input_hw, resize=resize)
    for make_views, frame_hw, view_hw in (
        (whole, whole_hw, whole_hw),
        (mirror, whole_hw, whole_hw),
        (ten_crop, ten_crop_hw, input_hw),
    ):
        views = make_views(_image(*image_hw), preprocessing)
        assert views.frame_hw == frame_hw
        for view in views.views:
            assert view.pixels.shape == (3, *view_hw)
            assert view.pixels.dtype == torch.float32
            x0, y0, x1, y1 = view.part_xyxy
            assert (y1 - y0, x1 - x0) == view_hw
            assert 0 <= x0 < x1 <= frame_hw[1]
            assert 0 <= y0 < y1 <= frame_hw[0]


@pytest.mark.parametrize(
    ("image_hw", "side", "resize", "frame_hw"),
    [
        ((100, 200), 224, "squash", (224, 224)),
        ((100, 200), 224, "short-side", (224, 448)),
        ((500, 375), 224, "short-side", (304, 224)),
        ((33, 33), 112, "short-side", (112, 112)),
        ((70, 35), 64, "short-side", (128, 64)),
    ],
)
def test_three_scales_each_also_mirrored(
    image_hw: tuple[int, int], side: int, resize: str, frame_hw: tuple[int, int]
) -> None:
    views = multi_scale(_image(*image_hw), Preprocessing((side, side), resize=resize))
    assert views.frame_hw == frame_hw
    assert [view.mirrored for view in views.views] == [False] * 3 + [True] * 3
    for view, scale in zip(views.views, (1, 3 / 4, 5 / 4) * 2, strict=True):
        # Every one shows the whole frame, whatever its own size.
        assert view.part_xyxy == (0, 0, frame_hw[1], frame_hw[0])
        for found, of_frame in zip(view.pixels.shape[1:], frame_hw, strict=True):
            assert abs(found - scale * of_frame) <= 8
    for upright, mirrored in zip(views.views[:3], views.views[3:], strict=True):
        assert torch.equal(upright.pixels.flip(-1), mirrored.pixels)


def test_each_scale_is_made_of_the_original() -> None:
    """Not of a scale that has already lost something."""
    image = _image(300, 300)
    preprocessing = Preprocessing((128, 128), mean=(0.0,) * 3, std=(1 / 255,) * 3)
    for view in multi_scale(image, preprocessing).views[:3]:
        height, width = view.pixels.shape[1:]
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        assert torch.allclose(view.pixels.permute(1, 2, 0), torch.from_numpy(np.array(resized)).float(), atol=1e-3)


def test_defaults_are_imagenets() -> None:
    weights = T.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    preprocessing = Preprocessing((224, 224))
    assert (preprocessing.mean, preprocessing.std) == (weights.mean, weights.std)
    assert IMAGENET_MEAN == (0.485, 0.456, 0.406)
    assert IMAGENET_STD == (0.229, 0.224, 0.225)
    assert preprocessing.resize == "squash"
    assert preprocessing.channels == 3


def test_normalization_by_hand() -> None:
    image = np.zeros((16, 16, 3), dtype=np.uint8)
    image[:] = (0, 51, 255)
    preprocessing = Preprocessing((16, 16), mean=(0.5, 0.1, 0.25), std=(0.25, 0.5, 0.125))
    (view,) = whole(image, preprocessing).views
    # (0 - 0.5) / 0.25, (0.2 - 0.1) / 0.5, (1 - 0.25) / 0.125
    assert torch.allclose(view.pixels[:, 3, 4], torch.tensor([-2.0, 0.2, 6.0]))


@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize("resize", ["squash", "short-side"])
def test_the_same_pixels_as_torchvision(shared: Path, resample: Image.Resampling, resize: str) -> None:
    interpolation = {
        Image.Resampling.BILINEAR: T.InterpolationMode.BILINEAR,
        Image.Resampling.BICUBIC: T.InterpolationMode.BICUBIC,
    }[resample]
    path = shared / "VOCdevkit/VOC2012/JPEGImages"
    with Image.open(sorted(path.glob("*.jpg"))[0]) as photograph:
        photograph = photograph.convert("RGB").crop((0, 0, 300, 200))
    # 3 to 2 of 160, so that the longer side is a multiple of 16, to which we round it.
    size: int | tuple[int, int] = (160, 160) if resize == "squash" else 160
    reference = T.Compose([T.Resize(size, interpolation), T.ToTensor(), T.Normalize(IMAGENET_MEAN, IMAGENET_STD)])(
        photograph
    )
    preprocessing = Preprocessing((160, 160), resize=resize, resample=resample)
    (view,) = whole(np.array(photograph), preprocessing).views
    assert view.pixels.shape == reference.shape
    assert torch.allclose(view.pixels, reference, atol=1e-6)


def test_the_same_ten_crops_as_torchvision() -> None:
    image = _image(90, 120)
    preprocessing = Preprocessing((56, 56), resize="short-side")
    resized = T.Compose([T.Resize((64, 85)), T.ToTensor(), T.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    # torchvision mirrors the whole image before it cuts, so that its mirrored corners come in another order.
    ours = [view.pixels for view in ten_crop(image, preprocessing).views]
    theirs = T.TenCrop(56)(resized(Image.fromarray(image)))
    for crop in (0, 1, 2, 3):
        assert torch.allclose(ours[crop], theirs[crop], atol=1e-6)
    for place, crop in zip((5, 6, 7, 8), (6, 5, 8, 7), strict=True):
        assert torch.allclose(ours[place], theirs[crop], atol=1e-6)


@pytest.mark.parametrize("name", VIEWS)
def test_gray_networks(name: str) -> None:
    image = _image(64, 64)
    preprocessing = Preprocessing((56, 56), mean=(0.4,), std=(0.2,))
    assert preprocessing.channels == 1
    views = VIEWS[name](image, preprocessing)
    assert {view.pixels.shape[0] for view in views.views} == {1}
    side = 64 if name.startswith("large") else 56
    assert views.views[0].pixels.shape == (1, side, side)
    if name == "whole":
        reference = T.Compose([T.Grayscale(), T.Resize((56, 56)), T.ToTensor(), T.Normalize((0.4,), (0.2,))])
        assert torch.allclose(views.views[0].pixels, reference(Image.fromarray(image)), atol=1e-6)


@pytest.mark.parametrize("name", VIEWS)
def test_the_image_is_not_changed_and_views_share_no_pixels_with_it(name: str) -> None:
    image = _image(56, 56)
    before = image.copy()
    for view in VIEWS[name](image, Preprocessing((56, 56))).views:
        view.pixels.zero_()
    assert np.array_equal(image, before)


@pytest.mark.parametrize(("image_hw", "refused"), [((10, 80), False), ((10, 81), True), ((81, 10), True)])
def test_the_aspect_of_a_thin_image_is_not_kept(image_hw: tuple[int, int], refused: bool) -> None:
    """8 x 20000 px would become 224 x 560000 px."""
    for name, make_views in VIEWS.items():
        if name.startswith("large"):
            continue  # They squash what is longer than 2 to 1.
        if refused:
            with pytest.raises(ItemError, match=r"more than 8 to 1; it needs `resize='squash'`"):
                make_views(_image(*image_hw), Preprocessing((16, 16), resize="short-side"))
            assert make_views(_image(*image_hw), Preprocessing((16, 16)))
        else:
            assert make_views(_image(*image_hw), Preprocessing((16, 16), resize="short-side"))


@pytest.mark.parametrize(
    ("image_hw", "size_hw"),
    [
        ((100, 100), (320, 320)),
        # 320 x 500 / 375 = 426.7, to a multiple of 32.
        ((375, 500), (320, 416)),
        ((500, 375), (416, 320)),
        ((10, 1000), (320, 640)),
        ((1, 1), (320, 320)),
    ],
)
def test_large_views(image_hw: tuple[int, int], size_hw: tuple[int, int]) -> None:
    image = _image(*image_hw)
    (view,) = VIEWS["large"](image, Preprocessing((224, 224))).views
    assert view.pixels.shape == (3, *size_hw)
    assert (view.part_xyxy, view.mirrored) == ((0, 0, size_hw[1], size_hw[0]), False)
    both = VIEWS["large-mirror"](image, Preprocessing((224, 224)))
    assert both.frame_hw == size_hw
    assert torch.equal(both.views[0].pixels, view.pixels)
    assert torch.equal(both.views[1].pixels, view.pixels.flip(-1))
    assert both.views[1].mirrored
