"""See tune_digits/cli/ablate.py, or run this with --help."""

import sys

from tune_digits.cli.ablate import main

if __name__ == "__main__":
    sys.exit(main())
