"""A classifier of a data set's own classes, from its image-level labels: ``wsloc train-classifier``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("train-classifier", sys.argv[1:]))
