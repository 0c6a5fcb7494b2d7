"""Which of two or more runs finds more, by how much, and where: ``wsloc compare-runs``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("compare-runs", sys.argv[1:]))
