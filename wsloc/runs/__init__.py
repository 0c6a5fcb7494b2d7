"""Runs on disk: results part by part, metrics at the end, going on after a kill.

The names below are loaded on first use, so that reading a run back does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsloc.runs.folder import RunFolder, read_manifest
    from wsloc.runs.judged import JudgedRun, judge_run, write_metrics
    from wsloc.runs.reading import RunContents, read_run
    from wsloc.runs.run import Run, execute, finish, open_run
    from wsloc.runs.summary import RunSummary, write_summary

_HOMES = {
    "wsloc.runs.folder": ("RunFolder", "read_manifest"),
    "wsloc.runs.judged": ("JudgedRun", "judge_run", "write_metrics"),
    "wsloc.runs.reading": ("RunContents", "read_run"),
    "wsloc.runs.run": ("Run", "execute", "finish", "open_run"),
    "wsloc.runs.summary": ("RunSummary", "write_summary"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'wsloc.runs' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


__all__ = [
    "JudgedRun",
    "Run",
    "RunContents",
    "RunFolder",
    "RunSummary",
    "execute",
    "finish",
    "judge_run",
    "open_run",
    "read_manifest",
    "read_run",
    "write_metrics",
    "write_summary",
]
