"""Maps of one image by all saliency methods, side by side in one picture: ``wsloc compare-methods``."""

import sys

from wsloc.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("compare-methods", sys.argv[1:]))
