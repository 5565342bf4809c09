"""What is checked before the first training, so that no trial fails for a reason that could be known beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from tune_digits.config import TrialConfig
from tune_digits.config.network import SHAPE_NEUTRAL, STARTS
from tune_digits.data.dataset import Task, head_slices
from tune_digits.data.folds.split import Fold
from tune_digits.errors import ConfigError
from tune_digits.learn.loss_checks import check_heads
from tune_digits.learn.metrics import metric_of
from tune_digits.study import Study
from tune_digits.tune.initial_weights import read_initial_weights
from tune_digits.tune.teacher import check_teacher


def preflight(study: Study, task: Task, folds: Sequence[Fold]) -> list[str]:
    """All checks below. Returns lines for the user: what was taken from given weights.

    task: with the rows that are searched on. Raises ConfigError or DataError for what cannot be trained.
    """
    metric_of(study.cv, task.targets)  # refuses weights of targets that are not there
    check_fold_numbers(study, len(folds))
    configs = list(study.space.ends())
    check_augmentation(configs, task)
    check_losses(study, configs, task)
    return check_models(configs, task)


def check_fold_numbers(study: Study, count: int) -> None:
    """The study has checked these numbers, except against a column of folds, which it has not seen."""
    if study.search.fold >= count:
        raise ConfigError(f"search.fold is {study.search.fold}, but the folds are 0..{count - 1}")
    if study.confirm.folds is not None and study.confirm.folds > count:
        raise ConfigError(f"confirm.folds is {study.confirm.folds}, but there are {count} folds")


def check_augmentation(configs: Sequence[TrialConfig], task: Task) -> None:
    """Refuse an albumentations pipeline that cannot work on these images."""
    seen = []
    for augment in (config.augment for config in configs):
        if augment.backend == "albumentations" and augment not in seen:
            from tune_digits.learn.albumentations_backend import check_pipeline

            check_pipeline(augment, *task.train.images.shape[1:])
            seen.append(augment)


def check_losses(study: Study, configs: Sequence[TrialConfig], task: Task) -> None:
    """Refuse weights and teachers that do not fit the data."""
    heads = head_slices(task.targets)
    for loss in dict.fromkeys(config.loss for config in configs):
        check_heads(loss, heads)
        check_teacher(loss, heads, len(task.train), study.data.subset)


def check_models(configs: Sequence[TrialConfig], task: Task) -> list[str]:
    """Refuse a network that cannot be made for these images, or started from the given weights.

    Returns what was taken from the given weights and what was left out: a line for each network, equal ones once.
    """
    # these fields make no network fail; zero_last needs residual blocks
    harmless = SHAPE_NEUTRAL - STARTS - {"bn_gamma_init"}
    models = {config.model.without(harmless) for config in configs}
    # the networks written here take all images; those of other libraries, and given weights, may not
    doubtful = [m for m in models if ":" in m.name or m != m.without_start()]
    if not doubtful:
        return []
    from tune_digits.learn.models import check_model

    classes = sum(len(target.classes) for target in task.targets)
    said = []
    for model in sorted(doubtful, key=str):
        channels, height, width = task.train.images.shape[1:]
        taken = check_model(model, channels, height, width, classes, read_initial_weights(model))
        if taken is not None:
            rest = f"; {taken.in_words()}" if taken.in_words() else ""
            start = model.init_from or model.weights
            said.append(f"{model.name} starts from {len(taken.taken)} tensors of {start}{rest}")
    return list(dict.fromkeys(said))
