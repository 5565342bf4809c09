"""The configuration, validated once here and trusted everywhere below.

A study (one YAML file) says what data to use, how to fold them, how to search, and the space of trials.
A trial's configuration is one tree, `TrialConfig`; the search space is that same tree with domains at its
leaves (see `space.py`). All models are frozen and refuse unknown keys.
"""

from tune_digits.config.augment import Augment
from tune_digits.config.loss import (
    CrossEntropy,
    Focal,
    GeneralizedCrossEntropy,
    Loss,
    SymmetricCrossEntropy,
)
from tune_digits.config.mix import Mix
from tune_digits.config.model import Keras8, LeanCnn, Model
from tune_digits.config.optimizer import Adam, AdamW, Optimizer, RmsProp, Sgd
from tune_digits.config.part import Part, variants
from tune_digits.config.schedule import Constant, Cosine, OneCycle, Plateau, Schedule, Step
from tune_digits.config.study import (
    CombinationGroups,
    Confirm,
    Cv,
    Data,
    Ensemble,
    Groups,
    Resources,
    RowGroups,
    Search,
    StudyParts,
)
from tune_digits.config.train import Train
from tune_digits.config.trial import TrialConfig

__all__ = [
    "Adam",
    "AdamW",
    "Augment",
    "CombinationGroups",
    "Confirm",
    "Constant",
    "Cosine",
    "CrossEntropy",
    "Cv",
    "Data",
    "Ensemble",
    "Focal",
    "GeneralizedCrossEntropy",
    "Groups",
    "Keras8",
    "LeanCnn",
    "Loss",
    "Mix",
    "Model",
    "OneCycle",
    "Optimizer",
    "Part",
    "Plateau",
    "Resources",
    "RmsProp",
    "RowGroups",
    "Schedule",
    "Search",
    "Sgd",
    "Step",
    "StudyParts",
    "SymmetricCrossEntropy",
    "Train",
    "TrialConfig",
    "variants",
]
