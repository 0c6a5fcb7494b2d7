"""The README's Python runs as it is printed, and its commands name flags that exist."""

from __future__ import annotations

import re
import runpy
import shlex
from functools import partial
from pathlib import Path

import pytest

from wsloc.cli.main import run_verb

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


def flags_of(program: str, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The flags that the help of a verb or script lists."""
    monkeypatch.setattr("sys.argv", [verb, "--help"])
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    script = str(REPOSITORY / verb)
    show = (
        partial(runpy.run_path, script, run_name="__main__")
        if program == "python"
        else partial(run_verb, verb, ["--help"])
    )
    with pytest.raises(SystemExit) as stopped:
        show()
    assert not stopped.value.code
    return set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))


@pytest.mark.parametrize("page", PAGES)
def test_commands_name_verbs_and_flags_that_exist(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known: dict[tuple[str, str], set[str]] = {}
    for line in "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["wsloc"] and not " ".join(words).startswith("python scripts/"):
            continue
        command = (words[0], words[1])
        if command not in known:
            known[command] = flags_of(*command, monkeypatch, capsys)
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known[command], line
    assert known or page not in ("README.md", "docs/training.md", "docs/evaluation.md")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"```.*?```", "", (REPOSITORY / page).read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert ((REPOSITORY / page).parent / target).exists(), target
