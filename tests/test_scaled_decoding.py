"""JPEG files decoded at a fraction of their size: less work, the frame of the whole image."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsloc.cli.main import run_verb
from wsloc.errors import ItemError
from wsloc.files.image_path import image_path
from wsloc.images import read_image, read_scaled
from wsloc.pipeline import Failed
from wsloc.pipeline.read_stage import ReadStage
from wsloc.records import ImageRecord

EXIF_ORIENTATION = 274


def _smooth(width: int, height: int) -> Image.Image:
    """Colors that rise slowly, so that a decoder's filter does not matter."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], axis=-1)
    return Image.fromarray(pixels.round().astype(np.uint8))


def _jpeg(image: Image.Image, orientation: int = 1, **options: object) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[EXIF_ORIENTATION] = orientation
    image.save(buffer, "JPEG", quality=95, exif=exif, **options)
    return buffer.getvalue()


def _largest_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize(
    ("least_side", "decoded_wh"),
    [
        (None, (403, 201)),
        (202, (403, 201)),
        (201, (403, 201)),
        (101, (403, 201)),
        (100, (202, 101)),
        (51, (202, 101)),
        (50, (101, 51)),
        (25, (51, 26)),
        (1, (51, 26)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_the_smallest_scale_that_keeps_the_side(
    least_side: int | None, decoded_wh: tuple[int, int], options: dict[str, bool]
) -> None:
    content = _jpeg(_smooth(403, 201), **options)
    rgb, size_wh = read_scaled(content, least_side)
    assert size_wh == (403, 201)
    assert rgb.shape == (decoded_wh[1], decoded_wh[0], 3)
    whole = read_image(content)
    if decoded_wh == (403, 201):
        np.testing.assert_array_equal(rgb, whole)
    assert _largest_difference(rgb, cv2.resize(whole, decoded_wh, interpolation=cv2.INTER_AREA)) <= 10


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size_wh", [(400, 200), (161, 160)])
def test_the_orientation_turns_pixels_and_size(orientation: int, size_wh: tuple[int, int]) -> None:
    content = _jpeg(_smooth(*size_wh), orientation)
    rgb, whole_wh = read_scaled(content, 80)
    whole = read_image(content)
    assert whole_wh == (whole.shape[1], whole.shape[0]) == (size_wh if orientation < 5 else size_wh[::-1])
    height, width = rgb.shape[:2]
    assert (width, height) == (-(-whole_wh[0] // 2), -(-whole_wh[1] // 2))
    assert _largest_difference(rgb, cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)) <= 8


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_gray_and_cmyk(mode: str) -> None:
    content = _jpeg(_smooth(400, 200).convert(mode))
    rgb, size_wh = read_scaled(content, 50)
    assert (rgb.shape, size_wh) == ((50, 100, 3), (400, 200))
    assert _largest_difference(rgb, cv2.resize(read_image(content), (100, 50), interpolation=cv2.INTER_AREA)) <= 8


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "bmp"])
def test_other_files_are_decoded_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    _smooth(400, 200).save(path)
    rgb, size_wh = read_scaled(path, 50)
    assert size_wh == (400, 200)
    np.testing.assert_array_equal(rgb, read_image(path))


def test_arrays_are_what_they_are() -> None:
    pixels = np.asarray(_smooth(400, 200))
    assert read_scaled(pixels, 50)[0] is pixels
    assert read_scaled(pixels, 50)[1] == (400, 200)


def test_a_file_that_ends_too_early(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(_jpeg(_smooth(400, 200), 6)[:-200])
    with pytest.raises(ItemError, match=r"^cut\.jpg cannot be decoded: image file is truncated"):
        read_scaled(path, 50)
    rgb, size_wh = read_scaled(image_path(path, lenient=True), 50)
    assert (rgb.shape, size_wh) == ((100, 50, 3), (200, 400))


def test_the_stage_keeps_the_frame_of_the_whole_image() -> None:
    record = ImageRecord("a", "a.jpg", _jpeg(_smooth(1600, 1200), 6), ("cat",))
    whole, scaled = (ReadStage(96, None, None, side)([record])[0] for side in (None, 150))
    assert not isinstance(whole, Failed)
    assert not isinstance(scaled, Failed)
    assert whole.size_wh == scaled.size_wh == (1200, 1600)
    assert whole.working_rgb.shape == scaled.working_rgb.shape == (96, 72, 3)
    assert _largest_difference(whole.working_rgb, scaled.working_rgb) <= 4


def _large(tiny: Path) -> None:
    """The images of the tiny set as JPEG files of eight times their size, half of them turned by their EXIF."""
    for index, path in enumerate(sorted((tiny / "photos").iterdir())):
        with Image.open(path) as image:
            large = image.resize((image.width * 8, image.height * 8), Image.Resampling.BICUBIC)
        turned = index % 2
        upright = large.transpose(Image.Transpose.ROTATE_90) if turned else large
        # Orientation 6 is shown turned by 90 degrees clockwise.
        path.with_suffix(".jpg").write_bytes(_jpeg(upright, 6 if turned else 1))
        path.unlink()
    labels = tiny / "labels.csv"
    labels.write_text(labels.read_text().replace(".png", ".jpg"))


def _boxes(folder: Path) -> dict[tuple[str, str], tuple[list[int], list[float]]]:
    lines = [json.loads(line) for line in (folder / "localizations.jsonl").read_text().splitlines()]
    return {(one["image_id"], one["class_name"]): (one["size_wh"], one["box_xyxy"]) for one in lines}


def _iou(a: list[float], b: list[float]) -> float:
    width, height = (max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def test_a_run_finds_boxes_in_the_same_frame(tiny: Path, tiny_flags: list[str]) -> None:
    _large(tiny)
    flags = [*tiny_flags, "--limit", "12", "--segmenter", "threshold", "--threshold", "0.3"]
    assert run_verb("localize", [*flags, "--out", "whole"]) == 0
    assert run_verb("localize", [*flags, "--decode-side", "64", "--save-maps", "--out", "scaled"]) == 0
    whole, scaled = _boxes(tiny / "whole"), _boxes(tiny / "scaled")
    assert whole.keys() == scaled.keys()
    assert len(whole) == 24
    for pair, (size_wh, box) in whole.items():
        assert size_wh == scaled[pair][0]
        assert min(size_wh) >= 320
        assert _iou(box, scaled[pair][1]) > 0.8
    assert whole != scaled
    # The setting is the run's, so that a new cut sees the same working image.
    assert run_verb("localize", ["--maps", "scaled", "--out", "again"]) == 0
    assert _boxes(tiny / "again") == scaled


@pytest.mark.parametrize(
    ("side", "views", "needed"), [(47, "whole", 48), (36, "ten-crop", 37), (39, "multi-scale", 40)]
)
@pytest.mark.usefixtures("tiny")
def test_a_side_below_what_is_looked_at_is_refused(
    tiny_flags: list[str], capsys: pytest.CaptureFixture[str], side: int, views: str, needed: int
) -> None:
    cut = [] if views == "whole" else ["--working-size", "32"]
    assert run_verb("localize", [*tiny_flags, "--views", views, "--decode-side", str(side), *cut]) == 2
    assert f"--decode-side {side} is less than the {needed} pixels" in capsys.readouterr().err
