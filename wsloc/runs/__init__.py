"""Runs on disk: results part by part, figures at the end, going on after a kill."""

from wsloc.runs.folder import RunFolder, read_failures, read_localizations, read_manifest
from wsloc.runs.report import RunReport, write_report
from wsloc.runs.run import Run, execute, finish, open_run

__all__ = [
    "Run",
    "RunFolder",
    "RunReport",
    "execute",
    "finish",
    "open_run",
    "read_failures",
    "read_localizations",
    "read_manifest",
    "write_report",
]
