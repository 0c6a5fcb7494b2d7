"""What is published: the sdist and the wheel hold the package and nothing else (``make package`` runs the wheel)."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
DATA = (
    "wsloc/py.typed",
    "wsloc/__init__.pyi",
    "wsloc/datasets/demo/outlines.txt",
    "wsloc/classifiers/weights/demo.safetensors",
    "wsloc/reporting/templates/run.html.jinja",
    "wsloc/configs/best.yaml",
)
OF_OTHERS = (".jpg", ".jpeg", ".png", ".pth", ".npz")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(REPOSITORY)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def tracked(folder: str) -> set[str]:
    """The files of a folder of the checkout."""
    paths = (REPOSITORY / folder).rglob("*")
    return {
        path.relative_to(REPOSITORY).as_posix()
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def test_the_wheel_is_the_package_with_its_data(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "wsloc = wsloc.cli:main" in archive.read(entry_points).decode()
    assert names == tracked("wsloc") | {f"wsloc/{name}" for name in tracked("configs")}
    assert set(DATA) <= names
    assert not [name for name in names if name.endswith(OF_OTHERS)]
    assert wheel.stat().st_size < 2_000_000


def test_the_sdist_is_what_the_wheel_is_made_of(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if not archive.getmember(name).isdir()}
    rest = names - tracked("wsloc") - tracked("configs")
    assert tracked("wsloc") | tracked("configs") <= names
    assert rest == {
        "CHANGELOG.md", "CITATION.cff", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore",
    }  # fmt: skip
    assert sdist.stat().st_size < 2_000_000


def test_an_index_takes_them(built: Path) -> None:
    files = sorted(map(str, built.iterdir()))
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_lowest_versions_are_the_bounds_of_pyproject() -> None:
    """Those of what is always installed, and of the extras that the tests use."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    project, development = tomllib.loads(text)["project"], tomllib.loads(text)["dependency-groups"]["dev"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra if one in development]
    bounds = dict(one.split(">=") for one in (*project["dependencies"], *extras))
    lines = (REPOSITORY / "tests/constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    lowest = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert lowest.keys() == bounds.keys()
    # 4.9 is the bound whose lowest version is 4.9.0.80.
    assert not [name for name, bound in bounds.items() if not f"{lowest[name]}.".startswith(f"{bound}.")]
