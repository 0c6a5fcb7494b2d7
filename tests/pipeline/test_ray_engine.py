"""Ray Data gives the bytes of the local engine, also where its workers die; Ray itself only where it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsloc.cli.main import run_verb
from wsloc.config import DataSettings
from wsloc.datasets import open_dataset
from wsloc.errors import UserError
from wsloc.pipeline.ray_engine import Row, _in_a_sentence, _within

SCRIPT = Path(__file__).parents[2] / "scripts" / "localize.py"
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install 'wsloc[ray]'"
)
LIMIT = 3600
"""Seconds that a run may take before the test gives up; a machine may be busy."""
DYING = """
import os
import sys
from pathlib import Path


def die_once(where):
    marker = Path("died-" + where)
    # Not in the driver, which has looked at the network before it imports Ray.
    if "ray" in sys.modules and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), 9)
"""
SEGMENTER = """
from dying import die_once
from wsloc.registries import SEGMENTERS
from wsloc.segmentation import Segmenter


def bind(settings, device):
    own = SEGMENTERS["grabcut"](settings, device)

    def segment(items):
        die_once("cut")
        return own.segment(items)

    return Segmenter(segment)
"""


def localize(flags: list[str], folder: Path) -> tuple[int, str]:
    """The exit status of a run in a process of its own, and what it said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "200000000"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *flags],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    return done.returncode, done.stderr


def files(run: Path) -> dict[str, bytes]:
    """Everything but what tells times and commands, and the lock."""
    apart = ("manifest.json", "log.txt", ".lock")
    paths = (path for path in run.rglob("*") if path.is_file() and path.name not in apart)
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}


@needs_ray
def test_workers_that_are_killed_cost_no_item_and_change_no_byte(tiny: Path, tiny_flags: list[str]) -> None:
    (tiny / "dying.py").write_text(DYING)
    (tiny / "cutting.py").write_text(SEGMENTER)
    network = (tiny / "tinynet.py").read_text()
    call = "        return self.body(images)"
    assert call in network
    network = network.replace(call, f"        die_once('map')\n{call}")
    (tiny / "tinynet.py").write_text(f"from dying import die_once\n{network}")
    (tiny / "photos" / "09.png").write_bytes(b"no image")
    flags = [*tiny_flags, "--limit", "20", "--checkpoint-every", "6", "--segmenter", "cutting:bind"]
    flags += ["--save-maps", "--overlays", "2"]
    assert localize([*flags, "--out", "local"], tiny)[0] == 1
    status, said = localize([*flags, "--out", "ray", "--engine", "ray", "--ray-timeout", "600"], tiny)
    assert status == 1, said
    assert (tiny / "died-map").exists()
    assert (tiny / "died-cut").exists()
    assert files(tiny / "ray") == files(tiny / "local")
    manifests = [json.loads((tiny / name / "manifest.json").read_text()) for name in ("ray", "local")]
    assert manifests[0]["counts"] == manifests[1]["counts"]
    assert {"read", "saliency", "cut"} <= manifests[0]["timing"]["stage_seconds"].keys()


@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
@needs_ray
def test_2000_items_by_a_driver_that_is_killed_and_resumed(tmp_path: Path) -> None:
    repeat_demo(tmp_path, items=2000)
    flags = ["--dataset", "folder", "--root", "photos", "--labels", "labels.csv", "--arch", "demo", "--preset", "fast"]
    flags += ["--checkpoint-every", "128"]
    assert localize([*flags, "--out", "local"], tmp_path)[0] == 0
    by_ray = [*flags, "--out", "ray", "--engine", "ray"]
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *by_ray], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while len(list((tmp_path / "ray" / "parts").glob("*.jsonl"))) < 3:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    assert localize([*by_ray, "--resume"], tmp_path)[0] == 0
    ours, theirs = (files(tmp_path / name) for name in ("ray", "local"))
    assert theirs["localizations.jsonl"].count(b"\n") >= 2000
    assert ours == theirs


def repeat_demo(folder: Path, items: int) -> None:
    """A folder of the demo's images, each there as often as it takes."""
    demo = open_dataset(DataSettings(dataset="demo", root=folder / "demo"))
    rows, times = ["image,label"], 0
    while items > 0:
        times += 1
        for image in demo.images:
            copy = Path(f"{times}-{image.path.name}")
            (folder / "photos").mkdir(exist_ok=True)
            (folder / "photos" / copy).hardlink_to(image.path)
            rows.append(f"{copy},{';'.join(image.labels)}")
            items -= len(image.labels)
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.slow
@needs_ray
def test_a_refiner_learns_the_same(tmp_path: Path) -> None:
    flags = ["--dataset", "demo", "--limit", "20", "--preset", "best", "--checkpoint-every", "8"]
    assert localize([*flags, "--out", "local"], tmp_path)[0] in (0, 1)
    assert localize([*flags, "--out", "ray", "--engine", "ray"], tmp_path)[0] in (0, 1)
    assert files(tmp_path / "ray") == files(tmp_path / "local")


def test_without_ray_a_sentence_says_how_to_get_it(
    tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run_verb("localize", [*tiny_flags, "--engine", "ray", "--out", "run"]) == 2
    assert capsys.readouterr().err.endswith("wsloc: --engine ray needs Ray: pip install 'wsloc[ray]'.\n")


def test_an_address_is_for_ray_alone(tiny_flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("localize", [*tiny_flags, "--ray-address", "auto", "--out", "run"]) == 2
    assert "--ray-address is only for --engine ray" in capsys.readouterr().err


class GaveUpError(Exception):
    """As Ray's own."""


def test_rows_come_in_order_and_end() -> None:
    rows: list[Row] = [{"number": number} for number in range(100)]
    assert list(_within(60, rows)) == rows


def test_a_row_that_does_not_come_ends_the_wait() -> None:
    held = threading.Event()

    def rows() -> Iterator[Row]:
        yield {"number": 0}
        held.wait()

    found = _within(0.05, rows())
    assert next(found) == {"number": 0}
    with pytest.raises(UserError, match=r"no result for 0.05 seconds .*`resume=True`"):
        next(found)
    held.set()


def test_errors_come_through_and_those_of_ray_are_a_sentence() -> None:
    def rows(error: Exception) -> Iterator[Row]:
        yield {"number": 0}
        raise error

    with pytest.raises(UserError, match="Ray gave up: worker died"), _in_a_sentence(GaveUpError):
        list(_within(60, rows(GaveUpError("worker\ndied"))))
    with pytest.raises(UserError, match="Ray gave up: no head node"), _in_a_sentence(GaveUpError):
        raise GaveUpError("no head node")
    with pytest.raises(KeyError), _in_a_sentence(GaveUpError):
        list(_within(60, rows(KeyError("a fault of ours"))))
