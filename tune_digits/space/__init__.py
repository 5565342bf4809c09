"""The search space: the tree of `TrialConfig` with domains at some of its leaves."""
