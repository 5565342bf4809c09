"""See tune_digits/cli/ensemble.py, or run this with --help."""

import sys

from tune_digits.cli.ensemble import main

if __name__ == "__main__":
    sys.exit(main())
