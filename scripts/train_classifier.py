"""A classifier for the classes of a data set, from image-level labels: ``wsloc train-classifier``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("train-classifier", sys.argv[1:]))
