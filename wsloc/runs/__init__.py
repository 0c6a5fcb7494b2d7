"""Runs on disk: results part by part, metrics at the end, going on after a kill."""

from wsloc.runs.folder import RunFolder, read_failures, read_localizations, read_manifest
from wsloc.runs.run import Run, execute, finish, open_run
from wsloc.runs.summary import RunSummary, write_summary

__all__ = [
    "Run",
    "RunFolder",
    "RunSummary",
    "execute",
    "finish",
    "open_run",
    "read_failures",
    "read_localizations",
    "read_manifest",
    "write_summary",
]
