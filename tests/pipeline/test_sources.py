"""An image comes as a path, as bytes or as an array, and gives the same map and the same box."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsloc.cli.options import parse_localize
from wsloc.errors import UserError
from wsloc.images import read_image
from wsloc.pipeline import Runner, localize_images, make_localizer
from wsloc.pipeline.map_stage import ImageMaps
from wsloc.records import ImageRecord, Source


def test_path_bytes_and_array_give_the_same_map_and_box(tiny: Path, tiny_flags: list[str]) -> None:
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise
    with Image.open(tiny / "photos" / "02.png") as image:
        stored_wh = image.size
        image.save(tiny / "turned.png", exif=exif)
    localizer = make_localizer(parse_localize(tiny_flags), ["red", "green"])
    path = ImageRecord("a", "a.png", tiny / "turned.png", ("red", "green"))
    sources: list[Source] = [path.path, path.path.read_bytes(), read_image(path.path)]
    images = [replace(path, source=source) for source in sources]
    maps = list(localizer.compute_maps(images, Runner()))
    results = list(localize_images(localizer, images))
    for of_image, result in zip(maps, results, strict=True):
        assert isinstance(of_image, ImageMaps)
        assert isinstance(maps[0], ImageMaps)
        assert of_image.read.size_wh == stored_wh[::-1]
        assert list(of_image.maps) == ["red", "green"]
        assert all(np.array_equal(of_image.maps[name], maps[0].maps[name]) for name in of_image.maps)
        boxes = [item.localizations for item in result.items]
        assert all(boxes)
        assert boxes == [item.localizations for item in results[0].items]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"no image", "the image is not an image that can be read"),
        (np.zeros((20, 20, 2), dtype=np.uint8), "not uint8 (H, W), (H, W, 3) or (H, W, 4)"),
        (np.zeros((20, 20, 3), dtype=np.float32), "the image is float32 (20, 20, 3), not uint8"),
        (np.zeros((4, 20, 3), dtype=np.uint8), "less than 8 on a side"),
    ],
)
def test_a_bad_one_is_a_failure(tiny_flags: list[str], source: Source, reason: str) -> None:
    localizer = make_localizer(parse_localize(tiny_flags), ["red"])
    (result,) = localize_images(localizer, [ImageRecord("a", "a", source, ("red",))])
    (item,) = result.items
    assert item.failure is not None
    assert item.failure.stage == "read"
    assert reason in item.failure.reason


def test_what_needs_a_file_says_so() -> None:
    with pytest.raises(UserError, match="The image a is in memory, and only image files"):
        _ = ImageRecord("a", "a", b"", ()).path
