"""The configuration, validated once here and trusted everywhere below.

A study (one YAML file) says what data to use, how to fold them, how to search, and the space of trials. The options
of its data stand with the readers (`data/formats.py`), and the study as a whole in `study_parts.py` and `study.py`.
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
from tune_digits.config.model import (
    DenseCnn,
    Keras8,
    LeanCnn,
    Model,
    SeCnn,
    SimpleM3,
    SimpleM5,
    SimpleM7,
    Timm,
    Torchvision,
)
from tune_digits.config.optimizer import Adam, AdamW, Lamb, Muon, NAdam, Optimizer, RAdam, RmsProp, Sgd
from tune_digits.config.part import Part, variants
from tune_digits.config.schedule import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    OneCycle,
    Plateau,
    Schedule,
    Step,
    StepEpochs,
    Triangular,
)
from tune_digits.config.study import (
    CombinationGroups,
    Confirm,
    Cv,
    Ensemble,
    Groups,
    Resources,
    RowGroups,
    Search,
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
    "CosineRestarts",
    "CrossEntropy",
    "Cv",
    "DenseCnn",
    "Ensemble",
    "Exponential",
    "Focal",
    "GeneralizedCrossEntropy",
    "Groups",
    "Keras8",
    "Lamb",
    "LeanCnn",
    "Loss",
    "Mix",
    "Model",
    "Muon",
    "NAdam",
    "OneCycle",
    "Optimizer",
    "Part",
    "Plateau",
    "RAdam",
    "Resources",
    "RmsProp",
    "RowGroups",
    "Schedule",
    "SeCnn",
    "Search",
    "Sgd",
    "SimpleM3",
    "SimpleM5",
    "SimpleM7",
    "Step",
    "StepEpochs",
    "SymmetricCrossEntropy",
    "Timm",
    "Torchvision",
    "Train",
    "TrialConfig",
    "Triangular",
    "variants",
]
