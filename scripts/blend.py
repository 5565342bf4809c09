"""See tune_digits/cli/blend.py, or run this with --help."""

import sys

from tune_digits.cli.blend import main

if __name__ == "__main__":
    sys.exit(main())
