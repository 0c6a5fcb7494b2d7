from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from wsloc.datasets.mask_files import open_mask
from wsloc.errors import ItemError
from wsloc.files.image_path import image_path
from wsloc.images import _SUFFIXES, IMAGE_SUFFIXES, MAX_PIXELS, MIN_SIDE, read_header, read_image

EXIF_ORIENTATION = 274


def _gradient(height: int = 12, width: int = 20) -> Image.Image:
    """Every pixel differs from its neighbors, so that no turn or flip passes unseen."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([rows * 20, columns * 12, rows + columns], axis=-1).astype(np.uint8))


def _huge_header(path: Path, width: int, height: int) -> Path:
    """A PNG of a few bytes whose header promises many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    image, path = _gradient(), tmp_path / f"turned.{suffix}"
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    image.save(path, exif=exif, quality=95, subsampling=0)
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    found = read_image(path)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == ((12, 20, 3) if orientation < 5 else (20, 12, 3))
    header = read_header(path)
    assert header.stored_wh == (20, 12)
    assert header.orientation == orientation
    assert header.size_wh == (found.shape[1], found.shape[0])


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_tiff_is_the_same_as_one_that_was_saved_upright(
    tmp_path: Path, orientation: int, compression: str | None, mode: str
) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    if mode == "I;16":
        image = Image.fromarray(np.asarray(_gradient().convert("L")).astype(np.uint16) * 200)
    else:
        image = _gradient().convert(mode)
    image.save(tmp_path / "turned.tif", exif=exif, compression=compression)
    # Not by Pillow's reader, which turns a TIFF itself.
    image.save(tmp_path / "lying.tif", compression=compression)
    lying = Image.fromarray(read_image(tmp_path / "lying.tif"))
    lying.getexif()[EXIF_ORIENTATION] = orientation
    expected = np.asarray(ImageOps.exif_transpose(lying))
    np.testing.assert_array_equal(read_image(tmp_path / "turned.tif"), expected)
    assert read_header(tmp_path / "turned.tif").stored_wh == (20, 12)


def _raw_exif(kind: int, count: int, value: bytes) -> bytes:
    """EXIF with the orientation alone, as a camera may write it but Pillow would not."""
    entry = struct.pack("<HHI", EXIF_ORIENTATION, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)


@pytest.mark.parametrize(
    "exif",
    [
        _raw_exif(3, 1, b"\0\0"),
        _raw_exif(3, 1, b"\x09\0"),
        _raw_exif(2, 3, b"up\0"),
        _raw_exif(3, 0, b""),
        _raw_exif(7, 4, b"\x06abc"),
        b"Exif\0\0II*\0",
        b"nonsense",
    ],
    ids=["zero", "nine", "text", "no-value", "bytes", "cut-short", "no-exif"],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_an_orientation_that_makes_no_sense_turns_nothing(tmp_path: Path, exif: bytes) -> None:
    path = tmp_path / "odd.jpg"
    _gradient().save(path, exif=exif)
    assert read_image(path).shape == (12, 20, 3)
    assert read_header(path).size_wh == (20, 12)
    assert read_header(path).orientation in (1, 0, 9)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "ppm", "jpg"])
def test_every_format_gives_writable_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    _gradient().save(path, **({"lossless": True} if suffix == "webp" else {}))
    found = read_image(path)
    assert (found.dtype, found.shape, found.flags.writeable) == (np.uint8, (12, 20, 3), True)
    if suffix != "jpg":
        np.testing.assert_array_equal(found, np.asarray(_gradient()))


def test_gray_goes_into_all_channels(tmp_path: Path) -> None:
    gray = np.arange(100, dtype=np.uint8).reshape(10, 10)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), np.stack([gray] * 3, axis=-1))


def test_black_and_white(tmp_path: Path) -> None:
    bits = np.eye(10, dtype=bool)
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png")[..., 1], bits * np.uint8(255))


@pytest.mark.parametrize(
    ("cmyk", "rgb"),
    [((0, 0, 0, 0), (255, 255, 255)), ((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))],
)
def test_cmyk(tmp_path: Path, cmyk: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    Image.new("CMYK", (16, 16), cmyk).save(tmp_path / "print.tif")
    assert (read_image(tmp_path / "print.tif") == rgb).all()


@pytest.mark.parametrize(
    ("rgba", "rgb"),
    [
        ((10, 20, 30, 255), (10, 20, 30)),
        ((10, 20, 30, 0), (255, 255, 255)),
        ((0, 0, 0, 128), (127, 127, 127)),
        ((255, 0, 0, 51), (255, 204, 204)),
    ],
)
def test_alpha_is_laid_over_white(tmp_path: Path, rgba: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    Image.new("RGBA", (8, 8), rgba).save(tmp_path / "alpha.png")
    assert (read_image(tmp_path / "alpha.png") == rgb).all()


def test_gray_with_alpha_is_laid_over_white(tmp_path: Path) -> None:
    Image.new("LA", (8, 8), (0, 0)).save(tmp_path / "gray.png")
    assert (read_image(tmp_path / "gray.png") == 255).all()


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_with_transparency(tmp_path: Path, suffix: str) -> None:
    palette = Image.new("P", (10, 10), 0)
    palette.putpalette([200, 0, 0, 0, 100, 0])
    palette.paste(1, (5, 0, 10, 10))
    palette.save(tmp_path / f"palette.{suffix}", transparency=1)
    found = read_image(tmp_path / f"palette.{suffix}")
    assert (found[:, :5] == (200, 0, 0)).all()
    assert (found[:, 5:] == 255).all()


def test_one_color_of_rgb_may_be_transparent(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    assert (read_image(tmp_path / "key.png") == 255).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_gray_is_divided_by_257(tmp_path: Path, suffix: str) -> None:
    values = np.zeros((8, 8), dtype=np.uint16)
    values[0] = [0, 128, 129, 257, 32768, 65278, 65407, 65535]
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    found = read_image(tmp_path / f"deep.{suffix}")
    assert found[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255, 255]
    assert (found[..., 0] == found[..., 2]).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
@pytest.mark.parametrize(
    ("largest", "full"),
    [(1, 255), (255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (4096, 16383), (16384, 65535)],
)
def test_fewer_bits_in_16_are_told_by_the_largest_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, largest: int, full: int
) -> None:
    caplog.set_level("INFO", "wsloc")
    values = np.full((8, 8), largest // 2, dtype=np.uint16)
    values[0, 0] = largest
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    found = read_image(tmp_path / f"deep.{suffix}")
    assert found[0, 0].tolist() == [round(255 * largest / full)] * 3
    assert found[1, 1].tolist() == [round(255 * (largest // 2) / full)] * 3
    assert (f"deep.{suffix}: 16-bit pixels of {full.bit_length()}-bit values" in caplog.text) == (full < 65535)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("largest", "full"), [(1000, 1023), (4000, 4095), (16000, 16383), (65535, 65535)])
def test_deep_colors(tmp_path: Path, suffix: str, largest: int, full: int) -> None:
    colors = np.full((8, 10, 3), (largest, largest // 2, 3), dtype=np.uint16)
    colors[2, 5] = 0
    cv2.imwrite(str(tmp_path / f"deep.{suffix}"), colors[..., ::-1])
    found = read_image(tmp_path / f"deep.{suffix}")
    assert found[0, 0].tolist() == [round(255 * value / full) for value in (largest, largest // 2, 3)]
    assert found[2, 5].tolist() == [0, 0, 0]


def test_deep_colors_with_alpha_turn_and_lie_over_white(tmp_path: Path) -> None:
    pixels = np.full((8, 10, 4), (4095, 0, 0, 65535), dtype=np.uint16)
    pixels[:, 0, 3] = 0
    png = cv2.imencode(".png", pixels[..., [2, 1, 0, 3]])[1].tobytes()
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    raw = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(raw)) + b"eXIf" + raw + struct.pack(">I", zlib.crc32(b"eXIf" + raw))
    (tmp_path / "deep.png").write_bytes(png[:33] + chunk + png[33:])
    found = read_image(tmp_path / "deep.png")
    assert found.shape == (10, 8, 3)
    assert (found[0] == 255).all()
    assert (found[1:] == (255, 0, 0)).all()


def test_exif_turns_16_bit_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    Image.fromarray(np.full((8, 20), 65535, dtype=np.uint16)).save(tmp_path / "deep.png", exif=exif)
    assert read_image(tmp_path / "deep.png").shape == (20, 8, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(np.ones((8, 8), dtype=dtype)).save(tmp_path / "depth.tif")
    with pytest.raises(ItemError, match=r"^depth\.tif has pixel type .*, whose range is unknown: save it as"):
        read_image(tmp_path / "depth.tif")


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_suffix_that_is_taken_is_one_that_pillow_decodes(tmp_path: Path, suffix: str) -> None:
    kind = next(name for name, suffixes in _SUFFIXES.items() if suffix in suffixes)
    gray = kind == "PPM"
    _gradient(32, 32).convert("L" if gray else "RGB").save(tmp_path / f"image{suffix}", kind)
    assert read_image(tmp_path / f"image{suffix}").shape == (32, 32, 3)


@pytest.mark.parametrize("kind", ["EPS", "PCX", "TGA", "ICO", "PDF", "SGI"])
def test_no_other_format_is_opened_whatever_its_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Of an EPS file Pillow would have Ghostscript run the program inside."""
    path = tmp_path / "image.jpg"
    _gradient(32, 32).save(path, kind)
    monkeypatch.setattr("subprocess.Popen", lambda *_args, **_more: pytest.fail("a program was started"))
    for read in (read_image, read_header):
        with pytest.raises(ItemError, match=r"^image\.jpg is not an image that can be read$"):
            read(path)
    sentence = r"^the mask cannot be read: it is not an image that can be read$"
    with pytest.raises(ItemError, match=sentence), open_mask(path, "mask") as picture:
        picture.load()


@pytest.mark.timeout(10)
def test_pipes_devices_and_huge_files_are_item_errors(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2**40)
    for name, sentence in {"pipe": "a pipe or a device", "zero": "a pipe or a device", "huge": "holds more"}.items():
        for read in (read_image, read_header):
            with pytest.raises(ItemError, match=rf"^{name}\.jpg is not an image that can be read: it .*{sentence}"):
                read(tmp_path / f"{name}.jpg")
        whole = rf"^the mask cannot be read: it .*{sentence}[^/]*$"
        with pytest.raises(ItemError, match=whole), open_mask(tmp_path / f"{name}.jpg", "mask"):
            pass


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    _gradient(64, 64).save(buffer, "jpeg")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not an image that can be read"),
        (b"this is no image", "is not an image that can be read"),
        (b"<html><body>404</body></html>", "is not an image that can be read"),
        (_jpeg()[:2], "is not an image that can be read"),
        (_jpeg()[:700], "cannot be decoded"),
        (_jpeg()[:-200], "cannot be decoded"),
    ],
    ids=["empty", "text", "html", "two-bytes", "half", "end-missing"],
)
def test_bad_files_are_item_errors(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(ItemError, match=rf"^bad\.jpg {sentence}") as raised:
        read_image(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2, 3, 40])
def test_a_jpeg_file_that_ends_too_early_can_be_accepted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, missing: int, progressive: bool
) -> None:
    caplog.set_level("INFO", "wsloc")
    path = tmp_path / "cut.jpg"
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 3
    _gradient(160, 100).save(path, quality=95, exif=exif, progressive=progressive)
    whole, content = read_image(path), path.read_bytes()
    np.testing.assert_array_equal(read_image(image_path(path, lenient=True)), whole)
    assert caplog.text == ""
    path.write_bytes(content[:-missing])
    with pytest.raises(ItemError, match=r"^cut\.jpg cannot be decoded: image file is truncated"):
        read_image(path)
    found = read_image(pickle.loads(pickle.dumps(image_path(path, lenient=True))))
    assert found.shape == whole.shape
    if missing <= 2:
        np.testing.assert_array_equal(found, whole)
    if not progressive:
        # Its last rows are the first ones after the turn.
        np.testing.assert_array_equal(found[-100:], whole[-100:])
    assert f"{path}: ends too early, and is gray where it does" in caplog.text


@pytest.mark.parametrize("suffix", ["png", "gif", "webp"])
def test_of_other_formats_nothing_is_accepted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    _gradient(160, 100).save(path)
    path.write_bytes(path.read_bytes()[: -(path.stat().st_size // 2)])
    with pytest.raises(ItemError, match=rf"^cut\.{suffix} "):
        read_image(image_path(path, lenient=True))


def test_a_missing_file_and_a_folder_are_item_errors(tmp_path: Path) -> None:
    for read in (read_image, read_header):
        with pytest.raises(ItemError, match=r"none\.jpg does not exist$"):
            read(tmp_path / "none.jpg")
        with pytest.raises(ItemError, match="is not an image that can be read"):
            read(tmp_path)


@pytest.mark.parametrize("size_wh", [(1, 1), (MIN_SIDE - 1, 100), (100, 1)], ids=str)
def test_a_side_too_short_is_an_item_error(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    Image.new("RGB", size_wh).save(tmp_path / "dot.png")
    with pytest.raises(ItemError, match=rf"^dot\.png is {size_wh[0]} x {size_wh[1]} pixels, less than 8 on a side$"):
        read_image(tmp_path / "dot.png")


def test_the_shortest_side_that_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (MIN_SIDE, MIN_SIDE)).save(tmp_path / "small.png")
    assert read_image(tmp_path / "small.png").shape == (MIN_SIDE, MIN_SIDE, 3)


@pytest.mark.parametrize("size_wh", [(10001, 10000), (30000, 30000), (2**31 - 1, 2**31 - 1)], ids=str)
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    path = _huge_header(tmp_path / "bomb.png", *size_wh)
    assert path.stat().st_size < 200 < MAX_PIXELS
    with pytest.raises(ItemError, match=r"^bomb\.png has .*more than 100 million"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "gif", "webp", "bmp"])
def test_damaged_bytes_give_an_image_or_an_item_error(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    _gradient(16, 16).save(buffer, kind, **({} if kind in ("gif", "bmp") else {"exif": exif}))
    sound, path = buffer.getvalue(), tmp_path_factory.mktemp("damaged") / "file"

    @settings(max_examples=60)
    @given(st.lists(st.tuples(st.integers(0, len(sound) - 1), st.integers(0, 255)), min_size=1, max_size=4))
    def check(changes: list[tuple[int, int]]) -> None:
        damaged = bytearray(sound)
        for place, value in changes:
            damaged[place] = value
        path.write_bytes(damaged)
        for read in (read_header, read_image):
            with contextlib.suppress(ItemError):
                read(path)

    check()


def test_a_header_is_read_without_the_rest_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "long.jpg"
    Image.new("RGB", (40, 30)).save(path)
    os.truncate(path, 2**26)
    read_header(path)  # what the first call imports is not counted
    tracemalloc.start()
    try:
        assert read_header(path).size_wh == (40, 30)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
