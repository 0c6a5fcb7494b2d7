"""Runs on disk: results part by part, metrics at the end, going on after a kill."""

from wsloc.runs.folder import RunFolder, read_manifest
from wsloc.runs.judged import JudgedRun, judge_run, write_metrics
from wsloc.runs.reading import RunContents, read_run
from wsloc.runs.run import Run, execute, finish, open_run
from wsloc.runs.summary import RunSummary, write_summary

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
