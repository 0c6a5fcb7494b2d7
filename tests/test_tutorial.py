"""docs/tutorial.md and its notebook: one text, which runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from tutorial_notebook import NOTEBOOK, PAGE, notebook_of, text_of


def test_a_page_becomes_cells_of_text_and_code() -> None:
    cells = notebook_of("# Title\n\nText.\n\n```python\na = 1\n\nb\n```\n\n```bash\nwsloc\n```\n")["cells"]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in cells] == [
        ("markdown", "# Title\n\nText."),
        ("code", "a = 1\n\nb"),
        ("markdown", "```bash\nwsloc\n```"),
    ]


def test_the_notebook_is_made_of_the_page() -> None:
    expected = text_of(notebook_of(PAGE.read_text(encoding="utf-8")))
    assert NOTEBOOK.read_text(encoding="utf-8") == expected, "run: python scripts/tutorial_notebook.py"


@pytest.mark.slow
def test_the_notebook_runs_from_photographs_to_a_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(PAGE.parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, 4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    said = "".join(output.get("text", "") for output in outputs)
    assert "boxes, 0 failures)" in said
    assert "boxes: 100%" in said
    (run,) = (tmp_path / "runs").iterdir()
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    assert manifest["images"] == 40
    assert (run / "report.html").stat().st_size > 10_000
    labels = [
        line.split() for file in run.glob("exports/yolo/labels/*/*.txt") for line in file.read_text().splitlines()
    ]
    assert len(labels) > 40
    assert all(len(label) == 5 and all(0 <= float(number) <= 1 for number in label[1:]) for label in labels)
    assert (tmp_path / "detector" / "detector.safetensors").is_file()
