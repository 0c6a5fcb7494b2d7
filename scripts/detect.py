"""A trained detector applied to images: ``wsloc detect``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("detect", sys.argv[1:]))
