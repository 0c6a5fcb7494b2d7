"""``python -m wsloc``: what ``wsloc`` runs, with this Python."""

import sys

from wsloc.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
