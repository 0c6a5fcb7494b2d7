"""The ``wsloc`` command: a verb, then that verb's flags."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from wsloc.cli.flags import with_flags
from wsloc.errors import UserError

VERBS = {
    "localize": "boxes from image-level labels, and how good they are",
    "train-classifier": "a classifier of a data set's own classes, from its image-level labels",
    "evaluate": "every metric of a run, or of saved maps",
    "export": "the boxes of a run for a detector or an annotation tool",
    "train-detector": "a detector from pseudo-labels or true boxes, and its average precision",
    "self-train": "better boxes from a detector that was trained on the boxes, in rounds",
    "report": "a page of figures, charts and pictures about one run or several",
    "compare": "maps of one image by many methods, side by side",
    "compare-runs": "which of two runs finds more, by how much, and where",
    "check-dataset": "what is wrong with the files of a data set",
    "visualize": "an image that maximizes the score of a class",
}
"""Each is a module of this package (a dash is an underscore) with ``run(arguments) -> exit status``; imported only when
asked for."""
RESUMABLE = frozenset({"localize", "train-classifier", "train-detector"})
"""Verbs that take ``--resume``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb. Returns the exit status: 0, 1 (some items failed), 2 (a user's error) or 130 (interrupted)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="wsloc",
        description="Weakly supervised localization: image-level labels in, boxes out.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="verbs:\n"
        + "\n".join(f"  {verb:<18}{text}" for verb, text in VERBS.items())
        + "\n\nwsloc VERB --help lists the flags of a verb.",
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="what to do, see below")
    if not words:
        parser.print_help(sys.stderr)
        return 2
    verb = parser.parse_args(words[:1]).verb
    return run_verb(verb, words[1:])


def run_verb(verb: str, arguments: Sequence[str]) -> int:
    """Run one verb; a user's error becomes one sentence on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name may hold bytes that no terminal can show.
            stream.reconfigure(errors="backslashreplace")
    if not sys.stderr.isatty():
        # tqdm reads it when it is first imported. In a log each step of a bar is a line.
        os.environ.setdefault("TQDM_MININTERVAL", "30")
    try:
        status: int = importlib.import_module(f"wsloc.cli.{verb.replace('-', '_')}").run(arguments)
    except UserError as error:
        print(f"wsloc: {with_flags(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        resume = f"; if a run folder was named above, wsloc {verb} --resume goes on" if verb in RESUMABLE else ""
        print(f"wsloc: interrupted{resume}.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
