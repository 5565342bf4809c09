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
from tune_digits.space.tree import flatten
from tune_digits.study import Study
from tune_digits.tune.initial_weights import initial_weights_file, read_initial_weights
from tune_digits.tune.sources import check_sources
from tune_digits.tune.teacher import check_teacher


def preflight(study: Study, task: Task, folds: Sequence[Fold]) -> list[str]:
    """All checks below. Returns lines for the user: what was taken from given weights, what is not known of a teacher.

    task: with the rows that are searched on. Raises ConfigError or DataError for what cannot be trained.
    """
    metric_of(study.cv, task.targets)  # refuses weights of targets that are not there
    check_fold_numbers(study, len(folds))
    configs = list(study.space.ends())
    check_batches(configs, folds)
    check_augmentation([*configs, *given_points(study)], task)
    check_losses(study, configs, task)
    said = check_models(configs, task, study.search.fold)
    used = {study.search.fold, *range(study.confirm.folds or len(folds))}
    return said + check_sources(configs, task, [fold for fold in folds if fold.index in used])


def check_fold_numbers(study: Study, count: int) -> None:
    """The study has checked these numbers, except against a column of folds, which it has not seen."""
    if study.search.fold >= count:
        raise ConfigError(f"search.fold is {study.search.fold}, but the folds are 0..{count - 1}")
    if study.confirm.folds is not None and study.confirm.folds > count:
        raise ConfigError(f"confirm.folds is {study.confirm.folds}, but there are {count} folds")


def check_batches(configs: Sequence[TrialConfig], folds: Sequence[Fold]) -> None:
    """Refuse train.drop_last where a fold's training rows fill no batch."""
    rows = min(len(fold.train_idx) for fold in folds)
    for train in (config.train for config in configs):
        if train.drop_last and rows < train.batch_size:
            raise ConfigError(
                f"trial.train.drop_last leaves no batch: {rows} rows to train on are fewer than train.batch_size "
                f"{train.batch_size}; lower it, or leave drop_last out"
            )


def given_points(study: Study) -> list[TrialConfig]:
    """The configurations of the baseline and the start points."""
    points = (study.space.baseline, *study.space.start)
    return [TrialConfig.model_validate(study.space.point(point)[1]) for point in points]


def check_pipelines(study: Study) -> None:
    """Refuse a pipeline of albumentations that cannot be built, at any end of its domains or given point.

    Needs no data. Raises ConfigError with the searched values.
    """
    seen = []
    searched = [key for key in study.space.searched() if key.startswith("augment.pipeline")]
    for config in [*study.space.ends(), *given_points(study)]:
        pipeline = config.augment.pipeline
        if pipeline is None or pipeline in seen:
            continue
        from tune_digits.learn.albumentations_backend import read_pipeline

        seen.append(pipeline)
        try:
            read_pipeline(pipeline)
        except ConfigError as error:
            values = flatten({"augment": {"pipeline": pipeline}}, searched)
            shown = ", ".join(f"{key} {values[key]}" for key in searched if key in values)
            raise ConfigError(f"{error}" + (f" (with {shown})" if shown else "")) from None


def check_augmentation(configs: Sequence[TrialConfig], task: Task) -> None:
    """Refuse an albumentations pipeline, and a policy of AutoAugment, that cannot work on these images."""
    seen = []
    channels = task.train.images.shape[1]
    for augment in (config.augment for config in configs):
        if augment.autoaugment != "none" and channels not in (1, 3):
            raise ConfigError(
                f"augment.autoaugment needs grey or colour images, and these have {channels} channels"
            )
        if augment.backend == "albumentations" and augment not in seen:
            from tune_digits.learn.albumentations_backend import check_pipeline

            check_pipeline(augment, *task.train.images.shape[1:])
            seen.append(augment)


def check_losses(study: Study, configs: Sequence[TrialConfig], task: Task) -> None:
    """Refuse weights and teachers that do not fit the data."""
    heads = head_slices(task.targets)
    for loss in dict.fromkeys(config.loss for config in configs):
        check_heads(loss, heads)
        check_teacher(loss, heads, len(task.train))


def check_models(configs: Sequence[TrialConfig], task: Task, fold: int) -> list[str]:
    """Refuse a network that cannot be made for these images, or started from the given weights, and a normalisation
    for other channels than these images have.


    fold: whose weights stand for those of all, where each has its own. Returns what was taken from the given weights
    and what was left out, a line for each network, equal ones once.
    """
    # these fields make no network fail; zero_last needs residual blocks
    harmless = SHAPE_NEUTRAL - STARTS - {"bn_gamma_init"}
    own, height, width = task.train.images.shape[1:]
    models = {(config.model.without(harmless), config.train.seen_channels(own)) for config in configs}
    # the networks written here take all images; those of other libraries, and given weights, may not
    doubtful = [(m, channels) for m, channels in models if ":" in m.name or m != m.without_start()]
    if not doubtful:
        return []
    from tune_digits.learn.models import check_model

    classes = sum(len(target.classes) for target in task.targets)
    said = []
    for model, channels in sorted(doubtful, key=str):
        taken = check_model(model, channels, height, width, classes, read_initial_weights(model, fold))
        if taken is not None:
            rest = f"; {taken.in_words()}" if taken.in_words() else ""
            start = initial_weights_file(model, fold)
            said.append(f"{model.name} starts from {len(taken.taken)} tensors of {start}{rest}")
    return list(dict.fromkeys(said))
