"""The command line: flags in, tables and progress bars out."""

from wsloc.cli.main import main

__all__ = ["main"]
