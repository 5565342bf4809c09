"""See tune_digits/cli/preview.py, or run this with --help."""

import sys

from tune_digits.cli.preview import main

if __name__ == "__main__":
    sys.exit(main())
