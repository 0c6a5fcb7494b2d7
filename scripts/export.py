"""The boxes of a run as files for detectors and annotation tools: ``wsloc export``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("export", sys.argv[1:]))
