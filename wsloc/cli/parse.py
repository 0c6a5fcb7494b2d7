"""Parses a command line into the configuration of a verb."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

from wsloc.cli.flags import fields, flag_of
from wsloc.errors import UserError, listed

Config = TypeVar("Config")
STYLE = (tyro.conf.OmitArgPrefixes,)
_WITHOUT_EDGES = str.maketrans("│╭╮╰╯", " " * 5)


def parse(config: type[Config], verb: str, arguments: Sequence[str], default: Config | None = None) -> Config:
    """The configuration that the flags of a verb give, on top of a default.

    Raises:
        UserError: for bad flags: one sentence, with suggestions.
        SystemExit: status 0, after ``--help``.
    """
    _refuse_repetitions(config, arguments)
    given: Any = {} if default is None else {"default": default}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed: Config = tyro.cli(config, prog=f"wsloc {verb}", args=list(arguments), config=STYLE, **given)
            return parsed
    except SystemExit as stop:
        if not stop.code:
            raise
    text = _sentence(said.getvalue())
    if text.lower().startswith("unrecognized options") and _images_given(arguments) > 1:
        text = "--images takes one pattern; put it in quotes, such as 'photos/*.jpg', so that the shell leaves it alone"
    raise UserError(text if text.endswith("?") else f"{text}; wsloc {verb} --help lists the flags.")


def _images_given(arguments: Sequence[str]) -> int:
    """How many words follow ``--images``."""
    after = itertools.dropwhile(lambda word: word.partition("=")[0] != "--images", arguments)
    given = next(after, "").count("=")
    return given + sum(1 for _ in itertools.takewhile(lambda word: not word.startswith("--"), after))


def _sentence(frame: str) -> str:
    """The message in a frame drawn by tyro, with the suggested flags and no period."""
    # Without UTF-8 the frame has only rules.
    lines = [line.translate(_WITHOUT_EDGES).rstrip() for line in frame.splitlines()[1:]]
    blocks = [list(block) for rule, block in itertools.groupby(lines, _is_rule) if not rule]
    said, similar = [], []
    for head, *others in blocks:
        # Flags are indented by four columns, their help by more.
        flags = [line.split()[0] for line in others if re.match(r" {6}\S", line)]
        if head.strip().startswith(("Perhaps you meant", "Arguments similar to")):
            # Beside flags, tyro lists the choices of one that is similar.
            similar += [flag for flag in flags if flag.startswith("--")][:2]
        elif head.strip().startswith("Missing from"):
            said.append(f"missing: {' and '.join(flags)}")
        elif head.strip() == "Unrecognized options:":
            said.append(f"unrecognized options: {listed(flags, 5)}")
        elif not said:
            text = " ".join(line.strip() for line in itertools.takewhile(str.strip, [head, *others])).rstrip(".")
            said.append(text.replace("{None}|", "").replace(". Expected", ", expected"))
    hint = [f"did you mean {' or '.join(dict.fromkeys(similar))}?"] if similar else []
    return "; ".join(said + hint)


def _is_rule(line: str) -> bool:
    return len(line) > 0 and line.strip(" ─-") == ""


def _refuse_repetitions(config: type[Any], arguments: Sequence[str]) -> None:
    """If a flag with several values is repeated, tyro would silently keep only the last values."""
    words = [word.partition("=")[0].replace("_", "-") for word in arguments]
    for field in fields(config):
        flag = flag_of(field.name)
        if "tuple[" in str(field.type) and words.count(flag) > 1:
            raise UserError(f"{flag} is given {words.count(flag)} times; give all its values after one {flag}.")
