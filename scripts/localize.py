"""Boxes from image-level labels, and their metrics: ``wsloc localize``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("localize", sys.argv[1:]))
