"""The scripts behind docs/reliability.md, on few images and with few kills."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from wsloc.errors import ItemError
from wsloc.images import read_image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import stress
from damaged_images import KINDS, Damage

SCRIPTS = Path(stress.__file__).parent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are neither pipes nor kill -9")


@pytest.mark.parametrize("damage", KINDS, ids=lambda damage: damage.name)
def test_every_damage_is_named_for_what_it_is(damage: Damage, tmp_path: Path) -> None:
    path = tmp_path / damage.file.format(7)
    damage.write(path, Image.effect_noise((64, 64), 60).convert("RGB"))
    if damage.reason is None:
        assert read_image(path).shape == (64, 64, 3)
    else:
        with pytest.raises(ItemError, match=damage.reason):
            read_image(path)


def test_what_is_lost_or_wrongly_named_is_a_fault() -> None:
    missing = next(kind for kind in KINDS if kind.name == "missing")
    items = [
        stress.Item("0.jpg", ("cat", "dog"), 0, None),
        stress.Item("1.jpg", ("cat",), 0, None),
        stress.Item("2.jpg", ("cat",), 1, missing),
    ]
    box = [1.0, 2.0, 3.0, 4.0]
    found = {("0.jpg", "cat"): box, ("0.jpg", "dog"): box, ("1.jpg", "cat"): box}
    failed = {("2.jpg", "cat"): "2.jpg does not exist"}
    assert stress.check(items, found, failed) == []
    lost = {key: value for key, value in found.items() if key != ("0.jpg", "dog")}
    assert any("nowhere" in fault for fault in stress.check(items, lost, failed))
    moved = {**found, ("1.jpg", "cat"): [0.0, *box[1:]]}
    assert any("another box" in fault for fault in stress.check(items, moved, failed))
    for wrong in ({("2.jpg", "cat"): "2.jpg is 1 x 1 pixels"}, {}):
        assert stress.check(items, found, wrong)
    assert stress.check(items, {**found, ("9.jpg", "cat"): box}, failed)


@pytest.mark.slow
def test_a_run_over_every_kind_of_damage(tmp_path: Path) -> None:
    text, faults = stress.stress(tmp_path, 10 * len(KINDS))
    assert faults == []
    assert len(re.findall(r"^\| .* \| 1 \|", text, re.MULTILINE)) == len(KINDS)


@pytest.mark.slow
def test_kills_in_some_phases(tmp_path: Path) -> None:
    # A fork of this process, whose libraries have threads by now, could wait for them forever.
    code = (
        "import sys, kill_drill; from pathlib import Path; "
        "text, faults = kill_drill.drill(Path(sys.argv[1]), 9, 1, ('localize', 'evaluate', 'report', 'export')); "
        "print(text, *faults, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=SCRIPTS, capture_output=True, text=True, check=True
    )
    assert re.match(r"[1-9] processes killed, 0 differences\.\n", done.stdout)
