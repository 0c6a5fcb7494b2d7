"""``wsloc compare-methods`` as a user types it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import wsloc.visualization
from wsloc.cli.compare_methods import CompareMethodsConfig
from wsloc.cli.main import run_verb
from wsloc.cli.options import parse_localize
from wsloc.datasets import open_dataset
from wsloc.pipeline import Failed, Runner, make_localizer
from wsloc.pipeline.map_stage import ImageMaps, MapStage
from wsloc.pipeline.read_stage import ReadImage
from wsloc.registries import METHODS
from wsloc.segmentation import working_map
from wsloc.visualization import COLORMAPS, STYLES, Block

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_methods.py"
NETWORK = "--arch tinynet:make --weights tinynet.pth --classes-file classes.txt --input-size 32".split()
FEW = "--methods gradient cam --tile 64".split()
QUICK = (
    "--rise-masks 8 --smoothgrad-samples 2 --integrated-steps 2 --occlusion-patch 8 --occlusion-stride 4 --tile 64"
).split()
TAKES_NONE = "CAM reads the input of the global pooling and no other layer; leave out --cam-layers."

Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def compare(tiny_flags: list[str], capsys: pytest.CaptureFixture[str]) -> Compare:  # noqa: ARG001
    """Runs the command in the folder of the tiny network; the exit status, standard output and standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        status = run_verb("compare-methods", [*words, *NETWORK])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[Block]:
    """What the sheets of the test are made of."""
    made: list[Block] = []
    real = wsloc.visualization.contact_sheet

    def spy(blocks: Sequence[Block], tile_wh: tuple[int, int], columns: int) -> NDArray[np.uint8]:
        made.extend(blocks)
        return real(blocks, tile_wh, columns)

    monkeypatch.setattr(wsloc.visualization, "contact_sheet", spy)
    return made


def literal(field: str) -> set[str]:
    return set(get_args(get_type_hints(CompareMethodsConfig)[field]))


def test_every_method_of_every_class(tiny: Path, compare: Compare, blocks: list[Block]) -> None:
    status, shown, error = compare("photos/00.png", "--class", "red", "blue", *QUICK)
    assert [block.heading for block in blocks] == ["red", "blue"]
    assert sum(float(block.note.removeprefix("p = ")) for block in blocks) < 1
    for block in blocks:
        assert [tile.caption for tile in block.tiles] == ["image", *METHODS]
        pictures = [tile.picture.tobytes() for tile in block.tiles if tile.picture is not None]
        assert len(pictures) >= 15
        assert len(set(pictures)) > len(pictures) / 2
        for tile in block.tiles:
            assert (tile.picture is None) == bool(tile.reason), tile.caption
    refused = sum(tile.picture is None for block in blocks for tile in block.tiles)
    assert status == (1 if refused else 0)
    assert f"tinynet-make: {2 * 19 - refused} maps of photos/00.png" in shown
    assert "rise (9 forward passes)" in error
    assert "Sheet: 00-methods.png" in shown
    with Image.open(tiny / "00-methods.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 5 * 32
        assert not list(tiny.glob("*.tmp"))


def test_the_choices_have_their_entries_in_the_registries() -> None:
    assert literal("style") == set(STYLES)
    assert literal("colormap") == set(COLORMAPS)


def test_each_style_and_each_colormap_draws_another_picture(tiny: Path, compare: Compare) -> None:
    choices = [("--style", value) for value in STYLES] + [("--colormap", value) for value in COLORMAPS]
    seen = {}
    for choice in choices:
        status, _, error = compare(
            "photos/00.png", "--class", "red", *FEW, *choice, "--out", "sheet.png", "--overwrite"
        )
        assert status == 0, error
        seen[choice] = (tiny / "sheet.png").read_bytes()
    assert seen["--style", "overlay"] == seen["--colormap", "turbo"], "the defaults"
    assert len(set(seen.values())) == len(choices) - 1


def test_the_maps_are_those_of_the_pipeline(compare: Compare, blocks: list[Block]) -> None:
    """Same pieces, another batch size: levels of gray differ by rounding at most."""
    methods = ("gradient", "smoothgrad", "grad-cam", "occlusion", "rise")
    settings = [*QUICK[:-2], "--seed", "3", "--views", "mirror"]
    look = ["--style", "gray", "--top-percentile", "100", "--tile", "40"]
    status, _, error = compare("photos/02.png", "--class", "red", "green", "--methods", *methods, *settings, *look)
    assert status == 0, error
    for block in blocks:
        for tile in block.tiles[1:]:
            assert tile.picture is not None
            flags = ["--images", "photos/02.png", "--class", block.heading, "--method", tile.caption]
            config = parse_localize([*flags, *settings, *NETWORK])
            dataset = open_dataset(config.data)
            localizer = make_localizer(config, [block.heading])
            (maps,) = localizer.compute_maps(dataset.images, Runner())
            assert isinstance(maps, ImageMaps)
            expected = working_map(maps.maps[block.heading], tile.picture.shape[:2], smoothing=0)
            expected = (expected - expected.min()) / np.ptp(expected)
            np.testing.assert_allclose(tile.picture[..., 0], 255 * expected, atol=1)


def test_the_first_tile_is_the_photograph_as_it_is_looked_at(tiny: Path, compare: Compare, blocks: list[Block]) -> None:
    """Turned by its EXIF orientation, its aspect kept, enlarged to the tile."""
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:, 20:] = (250, 20, 20)
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise: its left is the top
    Image.fromarray(pixels).save(tiny / "turned.png", exif=exif)
    assert compare("turned.png", "--class", "red", *FEW)[0] == 0
    photograph = blocks[0].tiles[0].picture
    assert photograph is not None
    assert photograph.shape == (64, 32, 3)
    assert photograph[:24].max() < 30
    np.testing.assert_allclose(photograph[40:], np.broadcast_to((250, 20, 20), (24, 32, 3)), atol=8)
    assert {tile.picture.shape for tile in blocks[0].tiles if tile.picture is not None} == {(64, 32, 3)}


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ("whole", {"gradient": 2, "smoothgrad": 2, "guided-grad-cam": 2, "cam": 1, "occlusion": 16, "rise": 16}),
        ("ten-crop", {"gradient": 16, "cam": 10, "score-cam": 16}),
    ],
)
def test_one_image_fills_its_batches(
    compare: Compare, monkeypatch: pytest.MonkeyPatch, views: str, expected: dict[str, int]
) -> None:
    """A gradient of two classes needs two rows, a CAM one; what makes versions of the image fills them all."""
    seen = {}

    compute = MapStage.compute

    def spy(stage: MapStage, images: Iterable[ReadImage | Failed], runner: Runner) -> Iterator[ImageMaps | Failed]:
        seen[stage.model.saliency.method] = stage.batch_size
        return compute(stage, images, runner)

    monkeypatch.setattr(MapStage, "compute", spy)
    compare("photos/00.png", "--class", "red", "blue", "--views", views, "--methods", *expected, *QUICK)
    assert seen == expected


def test_a_method_that_refuses_has_a_tile_that_says_why(tiny: Path, compare: Compare, blocks: list[Block]) -> None:
    flags = "--class red blue --methods cam grad-cam --cam-layers body.3 --tile 64".split()
    status, shown, _ = compare("photos/00.png", *flags)
    assert status == 1
    for block in blocks:
        assert (block.tiles[1].picture, block.tiles[1].reason) == (None, TAKES_NONE)
        assert block.tiles[2].picture is not None
        assert block.note.startswith("p = 0.")
        assert f"no map by cam of {block.heading}: {TAKES_NONE}" in shown
    assert (tiny / "00-methods.png").is_file()


def test_there_is_a_sheet_even_if_all_refuse(tiny: Path, compare: Compare, blocks: list[Block]) -> None:
    status, shown, _ = compare("photos/00.png", "--class", "red", "--methods", "cam", "--cam-layers", "body.3")
    assert status == 1
    assert blocks[0].note == ""
    assert "0 maps of photos/00.png" in shown
    assert (tiny / "00-methods.png").is_file()


def test_a_map_that_shows_nothing_has_a_tile_that_says_so(
    compare: Compare, blocks: list[Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = MapStage.compute

    def spoil(stage: MapStage, images: Iterable[ReadImage | Failed], runner: Runner) -> Iterator[ImageMaps | Failed]:
        for maps in compute(stage, images, runner):
            assert isinstance(maps, ImageMaps)
            maps.maps["red"][:] = 0
            maps.maps["blue"][3, 4] = np.inf
            yield maps

    monkeypatch.setattr(MapStage, "compute", spoil)
    status, shown, _ = compare("photos/00.png", "--class", "red", "blue", "green", *FEW)
    assert status == 1
    reasons = [tile.reason for block in blocks for tile in block.tiles[1:]]
    zero = "the saliency map is zero everywhere, so it gives no seeds."
    assert reasons == [zero] * 2 + ["the saliency map is not finite."] * 2 + [""] * 2
    assert f"no map by gradient of red: {zero}" in shown


def test_a_unit_in_place_of_a_class(compare: Compare, blocks: list[Block]) -> None:
    flags = "--layer body.3 --unit 5 --methods gradient grad-cam --cam-layers body.1".split()
    status, _, error = compare("photos/00.png", *flags)
    assert status == 0, error
    assert [(block.heading, block.note) for block in blocks] == [("body.3 unit 5", "")]


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP"), ("a.PNG", "PNG")]
)
def test_the_suffix_says_what_is_written(tiny: Path, compare: Compare, name: str, kind: str) -> None:
    assert compare("photos/00.png", "--class", "red", *FEW, "--out", name)[0] == 0
    with Image.open(tiny / name) as sheet:
        assert sheet.format == kind


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("photos/00.png --class rde", "none is known to be 'rde' (its outputs are red, green, blue)"),
        (
            "photos/00.png --class red --label-map map.yaml",
            "has no output of the classifier for class 'red': too rare.",
        ),
        ("photos/none.png --class red", "none.png does not exist."),
        ("labels.csv --class red", "labels.csv is not an image that can be read"),
        ("photos --class red", "photos is not an image that can be read"),
        ("long.png --class red --resize short-side", "more than 8 to 1; it needs --resize squash."),
        ("photos/00.png", "Nothing to look for: give --class NAME..., or --layer NAME and --unit K."),
        ("photos/00.png --class red --layer body.3 --unit 5", "--layer uses a unit instead of classes"),
        ("photos/00.png --layer body.77 --unit 5", "The network has no layer 'body.77'"),
        ("photos/00.png --class red --out there.png", "there.png exists; give another --out, or --overwrite"),
        ("photos/00.png --class red --out none/a.png", "The folder none does not exist; create it, or give another"),
        ("photos/00.png --class red --out folder.png --overwrite", "folder.png is a folder; give another --out."),
        ("photos/00.png --class red --out photos/00.png --overwrite", "photos/00.png is the image itself"),
        ("photos/00.png --class red --out a.gif", "--out must end in .png, .jpg or .webp, not a.gif."),
        ("photos/00.png --class red --out a", "--out must end in .png, .jpg or .webp, not a."),
        ("photos/00.png --class red --alpha 1.1", "--alpha must be between 0 and 1, not 1.1."),
        ("photos/00.png --class red --alpha nan", "--alpha must be between 0 and 1, not nan."),
        ("photos/00.png --class red --columns 0", "--columns must be between 1 and 100, not 0."),
        ("photos/00.png --class red --tile 31", "--tile must be between 32 and 2048 pixels, not 31."),
        ("photos/00.png --class red --top-percentile 0", "--top-percentile must be above 0 and at most 100"),
        ("photos/00.png --class red --rise-fraction 1", "--rise-fraction must be between 0 and 1"),
    ],
)
def test_a_users_error_is_one_sentence_and_leaves_nothing(
    tiny: Path, compare: Compare, words: str, sentence: str
) -> None:
    (tiny / "there.png").write_bytes(b"years of work")
    (tiny / "folder.png").mkdir()
    (tiny / "map.yaml").write_text("classes:\n  red: {relation: none, note: too rare}\n  blue: 1\n")
    Image.new("RGB", (400, 20)).save(tiny / "long.png")
    if "map.yaml" in words:
        words = words.replace("red", "red blue")
    ours = {"__pycache__", "forward-passes.txt"}
    before = {path: path.is_file() and path.read_bytes() for path in tiny.rglob("*") if not ours & set(path.parts)}
    status, shown, error = compare(*words.split(), "--methods", "gradient")
    assert (status, shown) == (2, "")
    assert error.startswith("wsloc: ")
    assert error.count("\n") == 1
    assert sentence in error
    after = {path: path.is_file() and path.read_bytes() for path in tiny.rglob("*") if not ours & set(path.parts)}
    assert after == before


def test_overwriting_when_asked(tiny: Path, compare: Compare) -> None:
    flags = ("photos/00.png", "--class", "red", *FEW)
    assert compare(*flags)[0] == 0
    assert compare(*flags)[0] == 2
    (tiny / "00-methods.png").write_bytes(b"")
    assert compare(*flags, "--overwrite")[0] == 0
    Image.open(tiny / "00-methods.png").verify()


def test_a_full_disk(tiny: Path, compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Image.Image, path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tiny / "a.png").write_bytes(b"the last one")
    monkeypatch.setattr(Image.Image, "save", refuse)
    status, _, error = compare("photos/00.png", "--class", "red", *FEW, "--out", "a.png", "--overwrite")
    assert status == 2
    assert "a.png cannot be written: No space left on device; make room" in error
    assert "Traceback" not in error
    assert (tiny / "a.png").read_bytes() == b"the last one"
    assert not list(tiny.glob("*.tmp"))


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("", "IMAGE"),
        ("a.png --class red --method cam", "--methods"),
        ("a.png --class red --second-method cam", "--second-method"),
        ("a.png --class red --workers 2", "--workers"),
        ("a.png --class red --style sepia", "sepia"),
        ("a.png --class red --colormap rainbow", "rainbow"),
        ("a.png b.png --class red", "b.png"),
    ],
)
def test_bad_flags_end_with_status_2(words: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("compare-methods", words.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert shown in captured.err


def test_an_unknown_method_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("compare-methods", "a.png --class red --methods cam camera".split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "There is no saliency method 'camera' (did you mean cam?); choose gradient, " in captured.err


def test_the_script(tiny: Path, tiny_flags: list[str]) -> None:  # noqa: ARG001
    command = [sys.executable, SCRIPT, "photos/00.png", "--class", "red", "green", *FEW, *NETWORK]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tiny)})
    assert done.returncode == 0, done.stderr
    assert (tiny / "00-methods.png").is_file()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom wsloc.cli import main\n"
        "try:\n    main(['compare-methods', '--help'])\nexcept SystemExit:\n    pass\n"
        "print('loaded:', sorted({'torch', 'torchvision', 'cv2', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stdout
    assert all(flag in done.stdout for flag in ("IMAGE", "--class", "--methods", "--style", "--alpha", "--tile"))
    assert "--method " not in done.stdout


def test_maps_of_a_dog_and_a_cat_on_a_photograph(
    shared: Path, tmp_path: Path, blocks: list[Block], capsys: pytest.CaptureFixture[str]
) -> None:
    """The brightest pixel lies on the head of the dalmatian, and on the cat before it."""
    photograph = shared / "VOCdevkit/VOC2012/JPEGImages/2010_004327.jpg"
    flags = f"--arch densenet121 --weights {shared}/weights/densenet121.pth --class dog cat --methods cam".split()
    look = f"--style gray --tile 500 --top-percentile 100 --out {tmp_path}/sheet.png".split()
    assert run_verb("compare-methods", [str(photograph), *flags, *look]) == 0, capsys.readouterr().err
    boxes_xyxy = {"dog": (290, 40, 475, 350), "cat": (17, 178, 360, 348)}
    for block in blocks:
        picture = block.tiles[1].picture
        assert picture is not None
        assert picture.shape == (378, 500, 3)
        y, x = np.unravel_index(picture[..., 0].argmax(), picture.shape[:2])
        x0, y0, x1, y1 = boxes_xyxy[block.heading]
        assert x0 <= x < x1
        assert y0 <= y < y1
