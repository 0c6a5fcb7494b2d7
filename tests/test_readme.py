"""The README's Python runs as it is printed, and its commands name flags that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from wsloc.cli.options import flatten
from wsloc.config import LocalizeConfig

REPOSITORY = Path(__file__).parents[1]
PAGES = ["README.md", "docs/formats.md", "docs/architecture.md", "docs/methods.md", "docs/benchmarks.md"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (REPOSITORY / page).read_text(encoding="utf-8"), re.M | re.S)


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks("README.md", "python"):
        exec(compile(block, "README.md", "exec"), namespace)
    assert "CorLoc class-wise" in capsys.readouterr().out
    assert len(namespace["box"]) == 4  # type: ignore[arg-type]


def test_commands_name_flags_that_exist() -> None:
    known = {"--" + name.replace("_", "-") for name in flatten(LocalizeConfig())}
    used = set()
    for command in "\n".join(blocks("README.md", "bash")).replace("\\\n", " ").splitlines():
        words = shlex.split(command, comments=True)
        if "localize" in " ".join(words[:2]):
            used |= {word for word in words if word.startswith("--")}
    assert used <= known
    assert len(used) > 10


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```", "", (REPOSITORY / page).read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((REPOSITORY / page).parent / target).exists(), target
