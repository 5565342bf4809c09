"""See tune_digits/cli/check.py, or run this with --help."""

import sys

from tune_digits.cli.check import main

if __name__ == "__main__":
    sys.exit(main())
