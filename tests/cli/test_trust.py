"""Files and run folders, which may come from strangers, name no code unless the person says so."""

from __future__ import annotations

import json
import pickle
import re
import sys
from pathlib import Path

import pytest
import yaml

import wsloc
from wsloc.cli.main import main, run_verb
from wsloc.cli.options import parse_localize
from wsloc.errors import UserError
from wsloc.plugins import NamedByFile, import_named, named_by_file, trusting

STRANGE = "from pathlib import Path\nPath('proof').touch()\nread_truth = make = bind = None\n"


@pytest.fixture
def strange(tiny: Path, tiny_flags: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A module whose import leaves a proof behind; the flags of a run without it."""
    (tiny / "strange_code.py").write_text(STRANGE)
    monkeypatch.delitem(sys.modules, "strange_code", raising=False)
    return [*tiny_flags, "--limit", "2", "--segmenter", "threshold"]


@pytest.mark.parametrize("name", ["dataset", "arch", "method", "second_method", "views", "segmenter", "refiner"])
def test_a_configuration_file_alone_runs_nothing(
    strange: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("strange.yaml").write_text(yaml.safe_dump({name: "strange_code:make"}))
    flag = f"--{name.replace('_', '-')}"
    if flag in strange:
        del strange[strange.index(flag) : strange.index(flag) + 2]
    assert run_verb("localize", [*strange, "--config", "strange.yaml"]) == 2
    said = capsys.readouterr().err
    assert re.search(r"strange.yaml names code to run as the [\w ]+, strange_code:make; if you know what it does", said)
    assert said.endswith("name it yourself, or add --trust.\n")
    assert (said.count("\n"), Path("proof").exists()) == (1, False)
    assert not list(tmp_path.glob("runs/*"))
    assert run_verb("localize", [*strange, "--config", "strange.yaml", "--trust"]) == 2
    assert Path("proof").exists()


def test_a_name_that_is_typed_is_trusted(strange: list[str]) -> None:
    Path("own.yaml").write_text("arch: tinynet:make\nlimit: 2\n")
    assert run_verb("localize", [*strange, "--config", "own.yaml", "--out", "run"]) in (0, 1)


def test_a_run_of_own_code_is_repeated_when_trusted(strange: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("localize", [*strange, "--out", "run"]) in (0, 1)
    assert "wsloc localize --config run/config.yaml --trust --limit 20" in capsys.readouterr().out
    assert run_verb("localize", ["--config", "run/config.yaml", "--out", "again"]) == 2
    assert "names code to run as the network, tinynet:make" in capsys.readouterr().err
    assert run_verb("localize", ["--config", "run/config.yaml", "--out", "again", "--trust"]) in (0, 1)
    for name in ("config.yaml", "localizations.jsonl"):
        assert Path("again", name).read_bytes() == Path("run", name).read_bytes()
    assert json.loads(Path("again/manifest.json").read_text())["command"][-1] == "--trust"


def test_a_run_folder_runs_nothing(strange: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb("localize", [*strange, "--out", "run", "--save-maps"]) in (0, 1)
    settings = yaml.safe_load(Path("run/config.yaml").read_text()) | {"dataset": "strange_code:make"}
    Path("run/config.yaml").write_text(yaml.safe_dump(settings))
    manifest = json.loads(Path("run/manifest.json").read_text())
    Path("run/manifest.json").write_text(json.dumps({**manifest, "data": None}))
    capsys.readouterr()
    sentence = "names code to run as the data set, strange_code:make"
    commands = {
        "evaluate": ["run"],
        "report": ["run"],
        "compare-runs": ["run", "run"],
        "export": ["run", "--format", "coco"],
        "localize": ["--maps", "run", "--out", "again"],
    }
    for verb, words in commands.items():
        assert run_verb(verb, words) == (0 if verb == "report" else 2)
        assert sentence in capsys.readouterr().err
    for call in (wsloc.evaluate, wsloc.report, lambda run: wsloc.export(run, "coco")):
        with pytest.raises(UserError, match=sentence):
            call("run")
    assert not Path("proof").exists()
    with pytest.raises(UserError, match="has no data set make"):
        wsloc.evaluate("run", trust=True)
    assert Path("proof").exists()


def test_only_names_of_code_are_marked_and_they_stay_so(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("arch: timm:resnet18\nmethod: cam\nclass: 'a:b'\nimages: 'x/*.jpg'\n")
    config = parse_localize(["--config", str(file), "--segmenter", "mine:cut"])
    assert [type(text) for text in (config.classifier.arch, config.saliency.method, config.segmentation.segmenter)] == [
        NamedByFile, str, str
    ]  # fmt: skip
    name = named_by_file("strange_code:make", file)
    assert isinstance(name, NamedByFile)
    again = pickle.loads(pickle.dumps(name))
    assert (again, again.file) == ("strange_code:make", file)
    with pytest.raises(UserError, match="names code to run"):
        import_named(again, "network")
    with trusting():
        assert type(named_by_file("strange_code:make", file)) is str
    assert type(named_by_file("strange_code:make", file)) is NamedByFile


def test_the_help_names_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--trust" in capsys.readouterr().out
