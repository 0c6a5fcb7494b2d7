"""Library code speaks of settings; the command line turns them into flags."""

import ast
import re
from pathlib import Path

import pytest

import wsloc
from wsloc.cli.flags import with_flags
from wsloc.cli.main import run_verb
from wsloc.config import DataSettings
from wsloc.errors import UserError

PACKAGE = Path(wsloc.__file__).parent
COMMANDS = {PACKAGE / "exporters" / name for name in ("coco.py", "formats.py", "label_studio.py")}
"""They tell which commands read an export."""


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("`limit` must be at least 1, not 0.", "--limit must be at least 1, not 0."),
        ("it needs `resize='squash'`", "it needs --resize squash"),
        ("give `class_name` or `targets='top5'`", "give --class or --targets top5"),
        ("`val_fraction=0.1`, `fine_tune=True`, `flip=False`", "--val-fraction 0.1, --fine-tune, --no-flip"),
        ("with `report=True`, `arch='net:make'`", "with --report, --arch net:make"),
        ("`test_classes` and `boxes_from`", "--test-classes and --boxes-from"),
        ("`limits`, ``x``, `a b`, `", "`limits`, ``x``, `a b`, `"),
    ],
)
def test_settings_become_flags(sentence: str, shown: str) -> None:
    assert with_flags(sentence) == shown


def test_an_error_names_the_setting_in_python_and_the_flag_on_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UserError, match=r"^`limit` must be at least 1, not 0\.$"):
        DataSettings(limit=0)

    assert run_verb("localize", ["--limit", "0"]) == 2
    assert capsys.readouterr().err == "wsloc: --limit must be at least 1, not 0.\n"


def test_no_text_below_the_command_line_names_a_flag() -> None:
    paths = [path for path in PACKAGE.rglob("*.py") if path not in COMMANDS and PACKAGE / "cli" not in path.parents]
    texts = [(path, text) for path in paths for text in _texts(path)]
    assert len(texts) > 1000

    assert [found for found in texts if re.search("--[a-z]", found[1])] == []


def _texts(path: Path) -> list[str]:
    """The strings of a module, but for flags that go to git and pip."""
    values = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    return [value for value in values if isinstance(value, str) and value != "--verify" and "pip " not in value]
