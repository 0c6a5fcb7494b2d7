"""The ``wsloc`` command: a verb, then that verb's flags."""

from __future__ import annotations

import contextlib
import functools
import io
import operator
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from wsloc.cli.notes import noted
from wsloc.cli.stopping import said, stoppable
from wsloc.cli.verbs import VERBS, config_of, module_of
from wsloc.errors import UserError, did_you_mean
from wsloc.plugins import trusting


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb.

    Returns:
        The exit status: 0, 1 (some items failed), 2 (a user's error), 130 (interrupted) or 143 (terminated).
    """
    verb, *others = list(sys.argv[1:] if arguments is None else arguments) or [""]
    if verb in VERBS:
        return run_verb(verb, others)
    if verb in ("-h", "--help"):
        print(_help())
        return 0
    if verb == "--version":
        from wsloc import __version__

        print(f"wsloc {__version__}")
        return 0
    if verb == "--completion" and others in (["bash"], ["zsh"]):
        print(_completion(*others))
        return 0
    hint = did_you_mean(verb, VERBS, "wsloc --help lists the verbs.")
    print(f"wsloc: there is no verb {verb!r}; {hint}" if verb else _help(), file=sys.stderr)
    return 2


def _help() -> str:
    """Written by hand, because tyro would be too slow for a shell prompt."""
    usage = "usage: wsloc VERB ...\n\nWeakly supervised localization: image-level labels in, boxes out."
    sections = {
        "options": {
            "-h, --help": "show this help message and exit",
            "--version": "show the version and exit",
            "--trust": "with any verb: let files of settings name code to run (module:function)",
            "--completion SHELL": "print a script that lets bash or zsh complete verbs and flags",
        },
        "verbs": VERBS,
    }
    lines = [usage, ""]
    for title, rows in sections.items():
        lines.append(f"╭─ {title} {'─' * (92 - len(title))}╮")
        lines += [f"│ {name:<20}{text:<74}│" for name, text in rows.items()]
        lines.append(f"╰{'─' * 95}╯")
    return "\n".join([*lines, "wsloc VERB --help lists the flags of a verb."])


def _completion(shell: str) -> str:
    """The script that lets a shell complete verbs and flags."""
    import tyro

    from wsloc.cli.parse import STYLE

    configs = (Annotated[config_of(verb), tyro.conf.subcommand(verb)] for verb in VERBS)
    verbs: Any = functools.reduce(operator.or_, configs)
    script = io.StringIO()
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        tyro.cli(verbs, prog="wsloc", args=["--tyro-print-completion", shell], config=STYLE)
    # Otherwise bash would offer the second line of a flag's help as a completion.
    return re.sub("^COMPLETION_SPEC = .*", lambda spec: spec[0].replace(r"\n", " "), script.getvalue(), flags=re.M)


def _read_config(verb: str, arguments: Sequence[str]) -> Any:
    if read := getattr(module_of(verb), "read_config", None):
        return read(arguments)
    from wsloc.cli.parse import parse

    return parse(config_of(verb), verb, arguments)


def run_verb(verb: str, arguments: Sequence[str]) -> int:
    """Run one verb; a user's error becomes one sentence on standard error."""
    from wsloc.cli.flags import TRUST, flag_of, with_flags

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name can contain bytes that no terminal can show.
            stream.reconfigure(errors="backslashreplace")
    if not sys.stderr.isatty():
        # tqdm reads this on first import. In a log, each update of a bar is a line.
        os.environ.setdefault("TQDM_MININTERVAL", "30")
    status: int
    try:
        trust = flag_of(TRUST)
        with stoppable(), trusting(trust in arguments):
            config = _read_config(verb, [word for word in arguments if word != trust])
            run, command = module_of(verb).run, ["wsloc", verb, *arguments]
            output = getattr(config, "output", None)
            if getattr(output, "dry_run", False):
                from wsloc.cli.dry_run import dry_run

                run = partial(dry_run, run)
            with noted(command, getattr(output, "log_level", "info")):
                status = run(config, command)
    except UserError as error:
        print(f"wsloc: {with_flags(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        sentence, status = said(stop, f"wsloc {verb} was not finished, start it again")
        print(f"wsloc: {with_flags(sentence)}.", file=sys.stderr)
        return status
    except BrokenPipeError:
        # The reader of our output is gone; Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
