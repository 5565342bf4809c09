"""See tune_digits/cli/clean.py, or run this with --help."""

import sys

from tune_digits.cli.clean import main

if __name__ == "__main__":
    sys.exit(main())
