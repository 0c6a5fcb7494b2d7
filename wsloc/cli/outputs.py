"""What the verbs share before and after their work: a free output file, and the commands to type next."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from wsloc.cli.flags import with_flags
from wsloc.cli.notes import log_into
from wsloc.config import FolderSettings
from wsloc.errors import UserError

_TITLE_WIDTH = 22


def free_output(path: Path, *, overwrite: bool, flag: str = "--out", make_folder: bool = False) -> Path:
    """The file to write, checked before the work rather than after.

    Args:
        path: of the file.
        overwrite: whether it may replace a file.
        flag: that names it.
        make_folder: whether its folder will be made.

    Raises:
        UserError: if it is a folder, its folder is missing, or it exists and may not be replaced.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give another {flag}.")
    if not make_folder and not path.parent.is_dir():
        raise UserError(f"The folder {path.parent} does not exist; create it, or give another {flag}.")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; give another {flag}, or --overwrite to replace it.")
    return path


def begun(folder: Path, output: FolderSettings) -> str:
    """The line that tells where a run is written, or goes on; from here on it has a log."""
    log_into(folder)
    return f"{'Resuming' if output.resume else 'Writing'} {folder}"


def warn_of_load(output: FolderSettings) -> None:
    """Say, before a training, that PyTorch's threads may wait for one another, if they may."""
    from wsloc.threads import warning_of_load

    # A resumed training must keep its number of threads.
    if not output.resume and (warning := warning_of_load()):
        print(f"wsloc: {warning}", file=sys.stderr)


def print_next(commands: Sequence[tuple[str, str]]) -> None:
    """Print titled commands: in two columns, or each below its title if one does not fit."""
    commands = [(with_flags(title), command) for title, command in commands]
    print("Next:")
    in_columns = all(len(title) < _TITLE_WIDTH and "\n" not in command for title, command in commands)
    for title, command in commands:
        if in_columns:
            print(f"  {title:<{_TITLE_WIDTH}}{command}")
        else:
            print(f"  {title}:\n{textwrap.indent(command, '    ', lambda _: True)}")
