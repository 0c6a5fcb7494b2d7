"""A detector from pseudo-labels or true boxes, and its average precision: ``wsloc train-detector``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("train-detector", sys.argv[1:]))
