"""One entry of each kind of one's own, added to its registry or named as module:attribute, used on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from wsloc.cli.main import main
from wsloc.errors import UserError
from wsloc.plugins import Registry, import_named
from wsloc.registries import DATASETS, FORMATS, METHODS, SEGMENTERS, VIEWS

MODULE = '''
import json
from pathlib import Path

import numpy as np

from wsloc.classifiers.preprocessing import whole
from wsloc.datasets import Dataset, DataSetKind, GroundTruthSet
from wsloc.exporters.formats import Format
from wsloc.records import GroundTruth, ImageRecord
from wsloc.saliency import Attribution, BoundMethod
from wsloc.segmentation import Segmentation, Segmenter

CALLS = []


def bind_stripe(context):
    """A bright stripe, whatever the image shows."""
    def compute(batch):
        height, width = batch.size_hw
        maps = batch.images.new_full((len(batch), height, width), 0.1)
        maps[:, height // 4 : height // 2, width // 4 : width // 2] = 1
        return Attribution(maps, context.scorer.logits(batch.images).detach())
    return BoundMethod(compute)


def cut_half(items):
    """Pixels above half of the maximum, for as many items at once as there are of one size."""
    CALLS.append(len(items))
    masks = [item.saliency > 0.5 for item in items]
    return [Segmentation(mask, mask.astype(np.uint8)) for mask in masks]


def bind_half(settings, device):
    return Segmenter(cut_half, batch_size=2)


def bind_nothing(*given):
    return None


def bind_raising(context):
    raise KeyError("no such layer")


def seen(image_rgb, preprocessing):
    CALLS.append(image_rgb.shape)
    return whole(image_rgb, preprocessing)


def open_first(root, split, settings):
    CALLS.append((root, split))
    files = ("00.png", "01.png")
    images = tuple(ImageRecord(file, f"photos/{file}", root / "photos" / file, ("red",)) for file in files)
    return Dataset("two", root, ("red", "green", "blue"), images)


def truth(dataset, split, settings):
    box = np.array([[0.0, 0.0, 20.0, 20.0]])
    return GroundTruthSet(
        {image.image_id: GroundTruth(image.image_id, box, ("red",), np.zeros(1, bool), (40, 40))
         for image in dataset.images}
    )


TWO = DataSetKind(open_first, truth, default_root=Path(), default_split="all")


def write(folder, images, plan):
    lines = [json.dumps([image.name, box.record.class_name]) for image in images for box in image.boxes]
    (folder / "boxes.jsonl").write_text("\\n".join(lines))
    return ()


LINES = Format(write, {"train": Path("images")}, lambda export: [("look", f"head {export.path}/boxes.jsonl")])
'''


@pytest.fixture
def _module(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny / "my_entries.py").write_text(MODULE)
    monkeypatch.chdir(tiny)
    monkeypatch.syspath_prepend(tiny)
    monkeypatch.delitem(sys.modules, "my_entries", raising=False)


@pytest.mark.usefixtures("_module")
@pytest.mark.parametrize("registered", [True, False], ids=["added at run time", "named as module:attribute"])
def test_one_of_each_kind(
    tiny_flags: list[str],
    registered: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"my_entries:{name}" for name in ("TWO", "bind_stripe", "seen", "bind_half", "LINES")]
    if registered:
        import my_entries  # type: ignore[import-not-found]

        monkeypatch.setitem(DATASETS, "two", my_entries.TWO)
        monkeypatch.setitem(METHODS, "stripe", my_entries.bind_stripe)
        monkeypatch.setitem(VIEWS, "seen", "my_entries:seen")
        monkeypatch.setitem(SEGMENTERS, "half", my_entries.bind_half)
        monkeypatch.setitem(FORMATS, "lines", my_entries.LINES)
        names = ["two", "stripe", "seen", "half", "lines"]
    dataset, method, views, segmenter, export_format = names
    network = tiny_flags[tiny_flags.index("--arch") :]
    flags = ["--dataset", dataset, "--method", method, "--views", views, "--segmenter", segmenter]
    assert main(["localize", *flags, *network, "--export", export_format, "--workers", "0"]) == 0
    (run,) = Path("runs").iterdir()
    assert ":" not in run.name
    records = [json.loads(line) for line in (run / "localizations.jsonl").read_text().splitlines()]
    assert [(record["image_id"], record["class_name"], record["method"]) for record in records] == [
        ("00.png", "red", method),
        ("01.png", "red", method),
    ]
    for record in records:  # the second quarter of each side
        width, height = record["size_wh"]
        assert record["box_xyxy"] == pytest.approx((width / 4, height / 4, width / 2, height / 2), abs=3)
    assert (run / "exports" / export_format.replace(":", "-") / "boxes.jsonl").is_file()
    assert (Path(), "all") in sys.modules["my_entries"].CALLS
    assert any(isinstance(call, tuple) and len(call) == 3 for call in sys.modules["my_entries"].CALLS)
    assert {record["segmenter"] for record in records} == {segmenter}
    assert sum(call for call in sys.modules["my_entries"].CALLS if isinstance(call, int)) == 2
    assert json.loads((run / "metrics.json").read_text())
    # The command that is shown next reads the run back, and the export.
    capsys.readouterr()
    assert main(["export", str(run), "--format", export_format, "--out", "again"]) == 0
    assert "head again/boxes.jsonl" in capsys.readouterr().out
    assert len(Path("again/boxes.jsonl").read_text().splitlines()) == 2
    assert main(["evaluate", str(run), "--trust"]) == 0
    assert main(["check-dataset", "--dataset", dataset]) == 0


@pytest.mark.usefixtures("_module")
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--method", "my_entries:gone"],
            "The saliency method my_entries:gone: the module my_entries has no function g",
        ),
        (
            ["--method", "my_entries:CALLS"],
            "The saliency method my_entries:CALLS: the module my_entries has no function",
        ),
        (["--method", "my_entries:bind_nothing"], "must return a BoundMethod, not NoneType"),
        (["--segmenter", "my_entries:bind_nothing"], "must return a Segmenter, not NoneType"),
        (
            ["--segmenter", "my_entries:gone"],
            "The segmenter my_entries:gone: the module my_entries has no function gone",
        ),
        (["--method", "my_entries:bind_raising"], "bind_raising() raised KeyError ('no such layer'); fix the function"),
        (
            ["--second-method", "my_gone:bind"],
            "The saliency method my_gone:bind: the module my_gone cannot be imported",
        ),
        (["--views", "my_entries:gone"], "The choice of views my_entries:gone: the module my_entries has no function"),
        (["--dataset", "my_entries:seen"], "The data set my_entries:seen: the module my_entries has no data set seen"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_entry_is_a_users_error(
    tiny_flags: list[str], flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["localize", *tiny_flags, "--limit", "1", "--out", "run", *flags]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.startswith("wsloc: ")
    assert "Traceback" not in error


def test_a_registry_imports_on_use_and_refuses_what_it_lacks() -> None:
    registry: Registry[object] = Registry("size", {"path": "pathlib:Path", "gone": "pathlib:Gone"})
    assert registry["path"] is Path
    assert registry["json:dumps"] is json.dumps
    registry["mine"] = print
    assert registry["mine"] is print
    assert list(registry) == ["path", "gone", "mine"]
    assert registry.get("paht", 3) == 3
    del registry["mine"]
    assert "mine" not in registry
    with pytest.raises(UserError, match=r"^There is no size 'paht' \(did you mean path\?\); choose path, gone, or"):
        registry["paht"]
    with pytest.raises(UserError, match=r"the module pathlib has no function Gone\.$"):
        registry["gone"]
    for name in ("", ":", "a:", ":b"):
        with pytest.raises(UserError, match=r"^There is no size"):
            registry.require(name)


def test_what_is_not_callable_can_be_asked_for() -> None:
    assert import_named("sys:version_info", "version", needs="major").major == 3
    with pytest.raises(UserError, match=r"^The version sys:path: the module sys has no version path\.$"):
        import_named("sys:path", "version", needs="major")
