"""See tune_digits/cli/report.py, or run this with --help."""

import sys

from tune_digits.cli.report import main

if __name__ == "__main__":
    sys.exit(main())
