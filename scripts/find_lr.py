"""See tune_digits/cli/find_lr.py, or run this with --help."""

import sys

from tune_digits.cli.find_lr import main

if __name__ == "__main__":
    sys.exit(main())
