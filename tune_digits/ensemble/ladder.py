"""`ensemble --verify`: the whole way to the submission once more inside cross-validation, step by step.

For each outer fold the members are trained without it, and its images are played as the test set, without their labels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tune_digits.config import Ensemble, TrialConfig
from tune_digits.data.dataset import Task, head_slices
from tune_digits.data.fingerprint import hash_array, hash_of
from tune_digits.data.folds.split import Fold
from tune_digits.disk import replacing
from tune_digits.ensemble.build import chosen_members
from tune_digits.ensemble.pseudo import Rule, rule_of, select_pseudo
from tune_digits.ensemble.retrain import MemberJob, RetrainData, member_jobs, retrain
from tune_digits.ensemble.rungs import Rung, judge_rung
from tune_digits.ensemble.tta import predict_views
from tune_digits.ensemble.vote import Ballot, cast, labels_of
from tune_digits.execute.executor import Executor
from tune_digits.learn.metrics import metric_of, score
from tune_digits.runs import Fingerprints, FoldResult, Run
from tune_digits.screen import Screen
from tune_digits.study import Study
from tune_digits.tune.leaderboard import Judges, judges_of
from tune_digits.tune.networks import load_network
from tune_digits.tune.prepare import folds_of
from tune_digits.tune.sources import check_sources
from tune_digits.tune.training import TrainingData, training_data

# fractions of the members' own augmentation that are tried where the study names none
STRENGTHS = (0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Ladder:
    """rungs: in the order in which they were climbed. plan: the ensemble with what the rungs say is used."""

    rungs: tuple[Rung, ...]
    plan: Ensemble

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rungs for JSON and CSV."""
        return [asdict(rung) for rung in self.rungs]


def run_ladder(
    study: Study,
    run: Run,
    task: Task,
    plan: Ensemble,
    executor: Executor,
    screen: Screen,
    *,
    quick: bool = False,
    force: bool = False,
) -> Ladder:
    """Climb from the best single model to the plan's ensemble; write ensemble/ladder.csv.

    quick: on one outer fold. force: every rung is used, whatever it is worth. Trainings on record are not done again.
    Raises RunError where there is no leaderboard or a training failed, ConfigError where a source of the members has
    seen an outer fold's rows.
    """
    _, configs = chosen_members(run, plan)
    folds = folds_of(study.cv, task.train)[: 1 if quick else None]
    for line in check_sources([config for _, config in configs], task, folds):
        screen.warn(line)
    climb = _Climb(study, run, task, plan, executor, screen, configs, folds, judges_of(study.cv, task), force)
    ladder = climb.up()
    with replacing(run.ensemble / "ladder.csv") as temporary:
        pd.DataFrame(ladder.rows).to_csv(temporary, index=False)
    return ladder


@dataclass(frozen=True, slots=True)
class _Voters:
    """What answers to an outer fold. files: of the networks, one list for each fold; views: (tta, strength)."""

    files: tuple[tuple[Path, ...], ...]
    views: tuple[int, float | None] = (1, None)


# configurations with the numbers of their trials, and seeds of each
_Who = tuple[Sequence[tuple[int, TrialConfig]], int]


@dataclass(slots=True)
class _Steps:
    """The rungs so far, their answers, and the place of the last used one."""

    judges: Judges
    force: bool
    rungs: list[Rung] = field(default_factory=list)
    answers: list[list[FoldResult]] = field(default_factory=list)
    last: int | None = None

    def add(
        self,
        name: str,
        own: list[FoldResult],
        started: float,
        *,
        tried: int = 1,
        unless_worse: bool = False,
    ) -> bool:
        """Judge one more; whether it is used."""
        seconds = time.monotonic() - started
        rung = judge_rung(
            name,
            own,
            self.answers,
            self.last,
            self.judges,
            seconds,
            tried=tried,
            unless_worse=unless_worse,
            force=self.force,
        )
        self.last = len(self.answers) if rung.used else self.last
        self.rungs.append(rung)
        self.answers.append(own)
        return rung.used


@dataclass(frozen=True, slots=True)
class _Climb:
    """One way up: everything that does not change on it."""

    study: Study
    run: Run
    task: Task
    plan: Ensemble
    executor: Executor
    screen: Screen
    configs: list[tuple[int, TrialConfig]]
    folds: Sequence[Fold]
    judges: Judges
    force: bool

    def up(self) -> Ladder:
        plan, started = self.plan, time.monotonic()
        everybody = (self.configs, plan.seeds)
        trained = [(fold, self._train(fold, everybody)) for fold in self.folds]
        single = _Voters(tuple((self._files(fold, jobs[:1])[-1],) for fold, jobs in trained))
        voters = _Voters(tuple(self._files(fold, jobs) for fold, jobs in trained))
        steps = _Steps(self.judges, self.force)
        steps.add("single best model", self._answers(single), started)
        base, members = single, len(voters.files[0])
        if members > 1:
            started = time.monotonic()
            name = f"+ {members}-member {self._rule} vote"
            if steps.add(name, self._answers(voters), started, unless_worse=True):
                base = voters
            else:
                plan = plan.model_copy(update={"members": (str(self.configs[0][0]),), "seeds": 1})
        if plan.tta > 1:
            started = time.monotonic()
            tried = {views: self._answers(replace(base, views=views)) for views in self._views()}
            views = max(tried, key=lambda v: np.mean([r.score for r in tried[v]]))
            used = steps.add(_views_in_words(views), tried[views], started, tried=len(tried))
            base = replace(base, views=views) if used else base
            plan = plan.model_copy(update={"tta": base.views[0], "tta_strength": base.views[1]})
        if (rule := rule_of(plan)) is not None:
            alone = base.files == single.files
            rounds = self._pseudo(base, rule, (self.configs[:1], 1) if alone else everybody, alone, steps)
            plan = plan.model_copy(
                update={"pseudo_rounds": rounds} if rounds else {"pseudo": None, "pseudo_rounds": 1}
            )
        return Ladder(tuple(steps.rungs), plan)

    def _pseudo(self, base: _Voters, rule: Rule, who: _Who, alone: bool, steps: _Steps) -> int:
        """The rungs of pseudo-labels, each from the answers of the round before; how many of them are used.

        alone: one network answers.
        """
        heads, used, last = head_slices(self.task.targets), 0, base
        for number in range(1, self.plan.pseudo_rounds + 1):
            started, files, found = time.monotonic(), [], 0
            for fold, own in zip(self.folds, last.files, strict=True):
                proba = self._predict(fold, own, last.views)
                answers = np.stack([labels_of(p, heads) for p in proba])
                rows, targets = select_pseudo(self._vote(proba), answers, heads, rule)
                found += len(rows)
                if not len(rows):  # nothing to learn from: the members stay
                    files.append(own)
                    continue
                labelled = (fold.valid_idx[rows], targets)
                jobs = self._train(fold, who, labelled, f", pseudo-labels {number}")
                files.append(self._files(fold, jobs)[-1 if alone else None :])
            if tuple(files) == last.files:
                break
            last = replace(base, files=tuple(files))
            of_all = found / sum(len(fold.valid_idx) for fold in self.folds)
            name = f"+ pseudo-labels, round {number} ({of_all:.0%})"
            if steps.add(name, self._answers(last), started):
                used = number
        return used

    def _views(self) -> list[tuple[int, float | None]]:
        """The forms of test-time augmentation to try: what the plan names, or shifts and all strengths."""
        if self.plan.tta_strength is not None:
            return [(self.plan.tta, self.plan.tta_strength)]
        if any(config.augment.pipeline is not None for _, config in self.configs):
            return [(self.plan.tta, None)]  # a pipeline has no strength
        return [(self.plan.tta, None), *((self.plan.tta, strength) for strength in STRENGTHS)]

    def _folder(self, fold: Fold) -> Path:
        return self.run.ensemble / "ladder" / f"fold{fold.index}"

    def _files(self, fold: Fold, jobs: Sequence[MemberJob]) -> tuple[Path, ...]:
        return tuple(self._folder(fold) / file for job in jobs for file in job.files)

    def _train(
        self,
        fold: Fold,
        who: _Who,
        pseudo: tuple[np.ndarray, np.ndarray] | None = None,
        more: str = "",
    ) -> list[MemberJob]:
        """Members without the fold. who: configurations, and seeds of each. pseudo: rows of the fold's validation part,
        and their labels float32 (n, K). more: what the progress says beside the fold."""
        data, rows = without_labels(self._data(), fold), fold.train_idx
        if pseudo is not None:
            own, targets = pseudo
            rows = np.concatenate([rows, len(data.images) + np.arange(len(own))])
            data = replace(
                data,
                images=np.concatenate([data.images, data.images[own]]),
                proba=np.concatenate([data.proba, targets]),
                pseudo=len(own),
            )
        key = hash_of([hash_array(data.images), hash_array(data.proba), hash_array(rows), fold.index])
        jobs = member_jobs(*who, key)
        shared = RetrainData(
            self.executor.store(data),
            rows,
            str(self._folder(fold).resolve()),
            self.executor.slots,
            fold.index,
        )
        title = f"verify, fold {fold.index}{more}"
        retrain(jobs, shared, self.run, self.study.resources, self.executor, self.screen, title)
        return jobs

    def _data(self) -> TrainingData:
        return training_data(self.task.train, metric_of(self.study.cv, self.task.targets))

    def _predict(self, fold: Fold, files: Sequence[Path], views: tuple[int, float | None]) -> np.ndarray:
        """Probabilities float32 (M, n, K) of the networks for the fold's validation rows."""
        import torch

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        images, heads = self.task.train.images[fold.valid_idx], head_slices(self.task.targets)
        pixels = torch.from_numpy(images).to(device)
        parts = []
        for file in files:
            model, config = load_network(file, images.shape[1:], heads[-1].stop, device, "these images")
            parts.append(predict_views(model, config, pixels, heads, *views))
        return np.stack(parts)

    @property
    def _rule(self) -> str:
        """What is learnt from out-of-fold predictions would know the labels of the outer fold: there it is soft."""
        return self.plan.vote if self.plan.vote in ("hard", "rank") else "soft"

    def _vote(self, proba: np.ndarray) -> np.ndarray:
        return cast(proba, head_slices(self.task.targets), Ballot(self._rule))

    def _answers(self, voters: _Voters) -> list[FoldResult]:
        """What the voters say of each outer fold, and its score."""
        heads, metric = head_slices(self.task.targets), metric_of(self.study.cv, self.task.targets)
        found = []
        for fold, files in zip(self.folds, voters.files, strict=True):
            proba = self._vote(self._predict(fold, files, voters.views))
            value = score(metric, proba, self.task.train.labels[fold.valid_idx], heads)
            made_from = Fingerprints("", "")
            found.append(FoldResult(0, fold.index, 0, fold.valid_idx, proba, value, 0.0, made_from))
        return found


def without_labels(data: TrainingData, fold: Fold) -> TrainingData:
    """The data with 0 in place of the labels of the fold's validation rows, so that nothing can learn from them."""
    proba = data.proba.copy()
    proba[fold.valid_idx] = 0
    return replace(data, proba=proba)


def _views_in_words(views: tuple[int, float | None]) -> str:
    count, strength = views
    return f"+ TTA {count}, " + ("shifts" if strength is None else f"strength {strength:g}")
