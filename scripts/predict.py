"""See tune_digits/cli/predict.py, or run this with --help."""

import sys

from tune_digits.cli.predict import main

if __name__ == "__main__":
    sys.exit(main())
