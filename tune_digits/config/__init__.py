"""The configuration, validated once here and trusted everywhere below.

A study (one YAML file) says what data to use, how to fold them, how to search, and the space of trials. The options
of its data stand with the readers (`data/formats.py`), and the study as a whole in `study_parts.py` and `study.py`.
A trial's configuration is one tree, `TrialConfig`; the search space is that same tree with domains at its
leaves (see `space/`). All models are frozen and refuse unknown keys.

This file re-exports the parts that every room reads. Losses, networks, optimizers and schedules are imported from
their own files (`from tune_digits.config.loss import Focal`); the union at the end of each lists its names.
"""

from tune_digits.config.augment import Augment
from tune_digits.config.ensemble import Ensemble
from tune_digits.config.mix import Mix
from tune_digits.config.part import Part, variants
from tune_digits.config.study import (
    CombinationGroups,
    Confirm,
    Cv,
    Groups,
    Resources,
    RowGroups,
    Search,
)
from tune_digits.config.train import Train
from tune_digits.config.trial import TrialConfig

__all__ = [
    "Augment",
    "CombinationGroups",
    "Confirm",
    "Cv",
    "Ensemble",
    "Groups",
    "Mix",
    "Part",
    "Resources",
    "RowGroups",
    "Search",
    "Train",
    "TrialConfig",
    "variants",
]
