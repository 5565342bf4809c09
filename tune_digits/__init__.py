"""tune_digits: trusted hyper-parameter search and ensembles for small-image classification."""

__version__ = "0.1.0"
