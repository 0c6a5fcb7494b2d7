"""What a network takes for a class: ``wsloc visualize``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("visualize", sys.argv[1:]))
