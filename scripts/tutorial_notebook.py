"""Writes docs/tutorial.ipynb from docs/tutorial.md, the one to edit; its blocks of Python become cells of code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, NOTEBOOK = DOCS / "tutorial.md", DOCS / "tutorial.ipynb"
_PYTHON = re.compile(r"^```python\n(.*?)^```\n", re.M | re.S)


def notebook_of(markdown: str) -> dict[str, Any]:
    """A page as a notebook of format 4.5, without outputs."""
    cells = []
    # Every second part is what a block of Python holds.
    for index, part in enumerate(_PYTHON.split(markdown)):
        cell: dict[str, Any] = {"id": f"cell-{index}", "metadata": {}, "source": part.strip().splitlines(keepends=True)}
        if index % 2:
            cell |= {"cell_type": "code", "execution_count": None, "outputs": []}
        else:
            cell |= {"cell_type": "markdown"}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def text_of(notebook: dict[str, Any]) -> str:
    """The notebook as its file holds it."""
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(text_of(notebook_of(PAGE.read_text(encoding="utf-8"))), encoding="utf-8")
