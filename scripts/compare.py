"""See tune_digits/cli/compare.py, or run this with --help."""

import sys

from tune_digits.cli.compare import main

if __name__ == "__main__":
    sys.exit(main())
