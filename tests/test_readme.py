"""The README's Python runs as it is printed, and its commands name flags that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from wsloc.cli.compare import CompareConfig
from wsloc.cli.options import flatten
from wsloc.cli.visualize import VisualizeConfig
from wsloc.config import LocalizeConfig

REPOSITORY = Path(__file__).parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md")))]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (REPOSITORY / page).read_text(encoding="utf-8"), re.M | re.S)


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks("README.md", "python"):
        exec(compile(block, "README.md", "exec"), namespace)
    assert "CorLoc class-wise" in capsys.readouterr().out
    assert len(namespace["box"]) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verb", "settings", "at_least"),
    [
        ("localize", LocalizeConfig(), 15),
        ("compare", CompareConfig(Path("photo.jpg"), ("dog",)), 2),
        ("visualize", VisualizeConfig("dog"), 2),
    ],
)
def test_commands_name_flags_that_exist(verb: str, settings: object, at_least: int) -> None:
    known = {"--" + re.sub("^class_names?$", "class", name).replace("_", "-") for name in flatten(settings)}
    used = set()
    for command in "\n".join(blocks("README.md", "bash")).replace("\\\n", " ").splitlines():
        words = shlex.split(command, comments=True)
        if verb in " ".join(words[:2]):
            used |= {word for word in words if word.startswith("--")}
    assert used <= known
    assert len(used) >= at_least


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```", "", (REPOSITORY / page).read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((REPOSITORY / page).parent / target).exists(), target
