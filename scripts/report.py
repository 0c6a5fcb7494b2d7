"""A page about one run or several: ``wsloc report``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("report", sys.argv[1:]))
