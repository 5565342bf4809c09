"""Looking after what lies on disk: whether it is whole, and what of it can be spared."""
