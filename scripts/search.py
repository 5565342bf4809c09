"""See tune_digits/cli/search.py, or run this with --help."""

import sys

from tune_digits.cli.search import main

if __name__ == "__main__":
    sys.exit(main())
