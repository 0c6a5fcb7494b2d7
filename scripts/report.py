"""A page about a run, or about several: ``wsloc report``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("report", sys.argv[1:]))
