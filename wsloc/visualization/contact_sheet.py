"""Many pictures of one size on one sheet, in blocks under headings, each over its caption."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK, _FAINT_INK = (255, 255, 255), (25, 25, 25), (110, 110, 110)
_EMPTY, _HAIRLINE = (244, 244, 244), (215, 215, 215)
_SMALLEST_TYPE = 7
"""Pixels; a reason that is too long even so is cut."""

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One picture of a sheet, or the reason why there is none.

    Attributes:
        caption: stands under it.
        picture: RGB uint8 ``(H, W, 3)``; None for a tile that shows the reason.
        reason: a sentence; begins with a capital on the sheet.
    """

    caption: str
    picture: NDArray[np.uint8] | None
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Tiles under a common heading.

    Attributes:
        heading: in large type.
        note: beside it, fainter.
        tiles: in reading order.
    """

    heading: str
    note: str
    tiles: tuple[Tile, ...]


def contact_sheet(blocks: Sequence[Block], tile_wh: tuple[int, int], columns: int) -> NDArray[np.uint8]:
    """The sheet, on white.

    Letters are those of Pillow's built-in font, which has no others than ASCII's: accents are dropped, and other
    letters are shown as question marks.

    Args:
        blocks: at least one, each with at least one tile.
        tile_wh: width and height of every picture.
        columns: maximum number of tiles per row (>= 1); fewer if that makes the rows more even.

    Returns:
        RGB uint8 ``(H, W, 3)``.

    Raises:
        ValueError: if a picture has another size, or there is no tile.
    """
    if not blocks or not all(block.tiles for block in blocks):
        raise ValueError("a sheet needs at least one block, and each block at least one tile")
    width, height = tile_wh
    for tile in (tile for block in blocks for tile in block.tiles):
        if tile.picture is not None and tile.picture.shape != (height, width, 3):
            raise ValueError(f"the picture {tile.caption!r} is {tile.picture.shape}, not {(height, width, 3)}")

    caption_size = max(11, round(0.07 * max(tile_wh)))
    gap = max(6, round(0.05 * max(tile_wh)))
    caption_font, heading_font = ImageFont.load_default(caption_size), ImageFont.load_default(1.5 * caption_size)
    caption_height, heading_height = round(1.7 * caption_size), round(2.4 * caption_size)
    # A narrow picture gets a cell as wide as the longest caption, so that all captions have one size.
    captions = [_plain(tile.caption) for block in blocks for tile in block.tiles]
    cell_width = max(width, *(math.ceil(caption_font.getlength(text)) for text in captions))
    # As even as can be: six tiles of at most five a row are twice three.
    longest = max(len(block.tiles) for block in blocks)
    columns = math.ceil(longest / math.ceil(longest / columns))
    row_height = height + caption_height + gap

    heads = [(_plain(block.heading), _plain(block.note)) for block in blocks]
    head_widths = [_head_width(heading_font, caption_font, *head, gap) for head in heads]
    heights = [heading_height + math.ceil(len(block.tiles) / columns) * row_height for block in blocks]
    sheet_width = max(columns * cell_width + (columns - 1) * gap, *head_widths) + 4 * gap
    sheet = Image.new("RGB", (sheet_width, sum(heights) + (len(blocks) - 1) * gap + 3 * gap), _PAPER)
    draw = ImageDraw.Draw(sheet)

    top = 2 * gap
    for block, (heading, note), block_height in zip(blocks, heads, heights, strict=True):
        baseline = top + round(1.5 * caption_size)
        draw.text((2 * gap, baseline), heading, font=heading_font, fill=_INK, anchor="ls")
        note_left = 2 * gap + heading_font.getlength(heading) + gap
        draw.text((note_left, baseline), note, font=caption_font, fill=_FAINT_INK, anchor="ls")
        for index, tile in enumerate(block.tiles):
            row, column = divmod(index, columns)
            left = 2 * gap + column * (cell_width + gap)
            upper = top + heading_height + row * row_height
            picture_left = left + (cell_width - width) // 2
            # A hairline around it, since a map in inverted gray ends in white.
            draw.rectangle((picture_left - 1, upper - 1, picture_left + width, upper + height), outline=_HAIRLINE)
            sheet.paste(_pictured(tile, tile_wh, caption_size), (picture_left, upper))
            middle = (left + cell_width / 2, upper + height + caption_size * 1.2)
            draw.text(middle, _plain(tile.caption), font=caption_font, fill=_INK, anchor="ms")
        top += block_height + gap
    return np.asarray(sheet)


def _head_width(heading_font: _Font, note_font: _Font, heading: str, note: str, gap: int) -> int:
    return math.ceil(heading_font.getlength(heading) + gap + note_font.getlength(note))


def _pictured(tile: Tile, tile_wh: tuple[int, int], type_size: int) -> Image.Image:
    if tile.picture is not None:
        return Image.fromarray(tile.picture)
    width, height = tile_wh
    empty = Image.new("RGB", tile_wh, _EMPTY)
    draw = ImageDraw.Draw(empty)
    font, lines, line_height = _fitted(
        _plain(tile.reason[:1].upper() + tile.reason[1:]), width - type_size, height - type_size, type_size
    )
    top = (height - line_height * len(lines)) / 2
    for index, line in enumerate(lines):
        middle = (width / 2, top + (index + 0.5) * line_height)
        draw.text(middle, line, font=font, fill=_FAINT_INK, anchor="mm")
    return empty


def _fitted(text: str, width: int, height: int, largest: int) -> tuple[_Font, list[str], int]:
    """The largest type in which a text fills no more than a width and a height: font, lines, height of a line."""
    for size in range(largest - 1, _SMALLEST_TYPE - 1, -1):
        font, line_height = ImageFont.load_default(size), round(1.3 * size)
        lines = _wrapped(text, font, width)
        if len(lines) * line_height <= height and all(font.getlength(line) <= width for line in lines):
            return font, lines, line_height
    room = max(1, height // line_height)
    return font, [*lines[: room - 1], lines[room - 1] + " ..."] if len(lines) > room else lines, line_height


def _wrapped(text: str, font: _Font, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _plain(text: str) -> str:
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letters).encode("ascii", "replace").decode()
