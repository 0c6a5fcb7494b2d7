"""Problems in the files of a data set: ``wsloc check-dataset``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("check-dataset", sys.argv[1:]))
