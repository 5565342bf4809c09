"""See tune_digits/cli/tricks.py, or run this with --help."""

import sys

from tune_digits.cli.tricks import main

if __name__ == "__main__":
    sys.exit(main())
