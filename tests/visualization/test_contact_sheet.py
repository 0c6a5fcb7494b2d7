from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsloc.visualization import Block, Tile, contact_sheet

WIDTH, HEIGHT = 90, 60
REASON = "CAM needs a network that ends in global average pooling and one linear layer, which this one does not."


def colors(count: int) -> list[tuple[int, ...]]:
    """Strong colors, of which the sheet itself has none."""
    return [tuple(round(255 * v) for v in colorsys.hsv_to_rgb(k / count, 1, 0.9)) for k in range(count)]


def tiles(found: list[tuple[int, ...]], size_wh: tuple[int, int] = (WIDTH, HEIGHT)) -> tuple[Tile, ...]:
    width, height = size_wh
    return tuple(Tile(f"n{k}", np.full((height, width, 3), color, np.uint8)) for k, color in enumerate(found))


def place(sheet: NDArray[np.uint8], color: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Half-open box of the pixels of a color, once it is shown that they fill it."""
    rows, columns = np.nonzero((sheet == color).all(axis=2))
    x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert len(rows) == (x1 - x0) * (y1 - y0)
    return int(x0), int(y0), int(x1), int(y1)


@pytest.mark.parametrize(
    ("count", "columns", "expected"),
    [
        (1, 5, [1]),
        (3, 5, [3]),
        (6, 5, [3, 3]),
        (7, 3, [3, 3, 1]),
        (20, 5, [5] * 4),
        (20, 7, [7, 7, 6]),
        (4, 1, [1] * 4),
    ],
)
def test_every_tile_stands_whole_in_its_row(count: int, columns: int, expected: list[int]) -> None:
    found = colors(2 * count)
    blocks = [Block("dog", "p = 0.50", tiles(found[:count])), Block("cat", "", tiles(found[count:]))]
    sheet = contact_sheet(blocks, (WIDTH, HEIGHT), columns)
    places = [place(sheet, color) for color in found]
    assert {(x1 - x0, y1 - y0) for x0, y0, x1, y1 in places} == {(WIDTH, HEIGHT)}
    assert places == sorted(places, key=lambda box: (box[1], box[0])), "not in reading order"
    tops = [top for _, top, _, _ in places]
    assert [tops.count(top) for top in sorted(set(tops))] == expected * 2
    columns_left = sorted({left for left, _, _, _ in places})
    assert len(set(np.diff(columns_left))) <= 1, "uneven gaps"
    assert columns_left[0] >= 10
    white_rows = (sheet == 255).all(axis=(1, 2))[::-1].argmin()
    assert 12 <= white_rows <= 20, "the margin below"
    assert abs(columns_left[0] - (sheet.shape[1] - columns_left[-1] - WIDTH)) <= 1 or count < 3, "uneven margins"


def test_the_sheet_is_white_with_ink_under_each_tile_and_in_the_heading() -> None:
    found = colors(4)
    sheet = contact_sheet([Block("dog", "p = 0.50", tiles(found))], (WIDTH, HEIGHT), 2)
    assert sheet.dtype == np.uint8
    for edge in (sheet[:8], sheet[-8:], sheet[:, :8], sheet[:, -8:]):
        assert (edge == 255).all()
    for color in found:
        x0, _, x1, y1 = place(sheet, color)
        assert sheet[y1 + 1 : y1 + 20, x0:x1].min() < 60
    x0, y0, _, _ = place(sheet, found[0])
    assert sheet[: y0 - 1, x0 : x0 + 40].min() < 60


@pytest.mark.parametrize("size_wh", [(WIDTH, HEIGHT), (24, 200), (200, 24), (32, 32), (8, 64), (600, 400)])
@pytest.mark.parametrize("reason", [REASON, REASON * 3, "incomprehensibilities" * 3], ids=len)
def test_a_refusal_is_read_in_its_tile_alone(size_wh: tuple[int, int], reason: str) -> None:
    """Whatever the shape of the tile; too long a reason is cut."""
    first, second = colors(2)
    picture, other = tiles([first, second], size_wh)

    def sheet(tile: Tile) -> NDArray[np.uint8]:
        return contact_sheet([Block("dog", "", (picture, Tile("cam", tile.picture, tile.reason)))], size_wh, 2)

    x0, y0, x1, y1 = place(sheet(other), second)
    with_reason, without = sheet(Tile("", None, reason)), sheet(Tile("", None, ""))
    assert (without[y0:y1, x0:x1] == 244).all()
    changed = (with_reason != without).any(axis=2)
    assert changed[y0:y1, x0:x1].mean() > 0.01, "hardly any letters"
    changed[y0:y1, x0:x1] = False
    assert not changed.any()


def test_a_reason_that_fits_keeps_off_the_border() -> None:
    size_wh = (224, 168)
    width, height = size_wh
    sheet = contact_sheet([Block("dog", "", (Tile("cam", None, REASON),))], size_wh, 1)
    plain = contact_sheet([Block("dog", "", (Tile("cam", None, ""),))], size_wh, 1)
    rows, columns = np.nonzero((sheet != plain).any(axis=2))
    assert 0.5 * width < np.ptp(columns) < width - 12
    assert 0.1 * height < np.ptp(rows) < height - 12


def test_captions_of_narrow_tiles_do_not_meet() -> None:
    """A column between two captions stays white."""
    found = colors(2)
    narrow = [Tile("integrated-gradients", tile.picture) for tile in tiles(found, (20, 200))]
    sheet = contact_sheet([Block("dog", "", tuple(narrow))], (20, 200), 2)
    (left, _, _, bottom), (_, _, right, _) = (place(sheet, color) for color in found)
    ink = (sheet[bottom + 2 :, :] < 128).any(axis=(0, 2))
    columns = np.nonzero(ink)[0]
    assert columns.min() < left
    assert columns.max() > right
    middle = (left + right) // 2
    assert not ink[middle - 3 : middle + 3].any()


def test_a_long_heading_widens_the_sheet() -> None:
    (tile,) = tiles(colors(1))
    sheet = contact_sheet([Block("m" * 60, "p = 0.50", (tile,))], (WIDTH, HEIGHT), 1)
    assert sheet.shape[1] > 600
    assert (sheet[:, -8:] == 255).all()


@pytest.mark.parametrize(("name", "shown"), [("Bär", "Bar"), ("niño", "nino"), ("猫", "?"), ("№", "No")])
def test_letters_that_the_font_lacks(name: str, shown: str) -> None:
    block = tiles(colors(1))
    found = [contact_sheet([Block(text, text, block)], (WIDTH, HEIGHT), 1) for text in (name, shown)]
    np.testing.assert_array_equal(*found)


def test_it_is_an_image_that_can_be_written(tmp_path: Path) -> None:
    sheet = contact_sheet([Block("dog", "", tiles(colors(3)))], (WIDTH, HEIGHT), 2)
    Image.fromarray(sheet).save(tmp_path / "sheet.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "sheet.png")), sheet)


@pytest.mark.parametrize(
    ("blocks", "sentence"),
    [
        ([], "at least one block"),
        ([Block("dog", "", ())], "each block at least one tile"),
        ([Block("dog", "", tiles(colors(1), (HEIGHT, WIDTH)))], r"'n0' is \(90, 60, 3\), not \(60, 90, 3\)"),
    ],
)
def test_what_makes_no_sheet(blocks: list[Block], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        contact_sheet(blocks, (WIDTH, HEIGHT), 2)
