"""Better boxes, from a detector trained on them, in rounds: ``wsloc self-train``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("self-train", sys.argv[1:]))
