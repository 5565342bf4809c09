"""Which trick helps: what is trained, what is kept, who leaves early, and what the table says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from run_samples import INLINE, MADE_FROM

from tune_digits.config import Resources, TrialConfig
from tune_digits.data.folds.split import Fold
from tune_digits.learn.metrics import Metric
from tune_digits.runs import FoldResult, Run
from tune_digits.screen import Screen
from tune_digits.stats.compare import POWERFUL, compare
from tune_digits.stats.noise import training_noise
from tune_digits.stats.ranks import holm
from tune_digits.tune import ablation
from tune_digits.tune.ablation import Plan, ablation_table, make_plan, on_record, run_ablation
from tune_digits.tune.fold_jobs import FoldJob
from tune_digits.tune.leaderboard import Judges
from tune_digits.tune.tricks import Trick, tricks_of

ROWS, FOLDS = 3000, 3
LABELS = np.random.default_rng(0).integers(0, 2, (ROWS, 1))
BEST = TrialConfig.model_validate(
    {"augment": {"rotate": 9}, "mix": {"mixup_alpha": 0.4}, "train": {"ema_decay": 0.9}}
)
TRICKS = tricks_of(BEST)  # rotate, mixup, ema
JUDGES = Judges(Metric(), LABELS, (slice(0, 2),))


def right_of(config: TrialConfig, rates: dict[str, float]) -> float:
    """The rate of right answers of the configuration without that trick; `all` where it has all of them."""
    missing = [t.key for t in TRICKS if t.config == config]
    return rates[missing[0]] if missing else rates["all"]


def answers(
    place: int, config: TrialConfig, fold: int, seed: int, rates: dict[str, float], noise: float = 0.0
) -> FoldResult:
    rows = np.arange(fold, ROWS, FOLDS)
    hard = np.random.default_rng(fold).random(len(rows))
    own = np.random.default_rng([fold, seed, int(1e6 * right_of(config, rates))])
    right = hard + own.normal(0, 0.02, len(rows)) < right_of(config, rates) + own.normal(0, 1) * noise
    proba = np.eye(2, dtype=np.float32)[np.where(right, LABELS[rows, 0], 1 - LABELS[rows, 0])]
    return FoldResult(place, fold, seed, rows, proba, float(right.mean()), 1.0, MADE_FROM)


class Trainer:
    """Stands in for `confirm_folds`: keeps what it was asked for, and answers by `rates`."""

    def __init__(self, rates: dict[str, float], fails: Callable[[FoldJob], bool] = lambda job: False) -> None:
        self.rates, self.fails = rates, fails
        self.jobs: list[FoldJob] = []

    def __call__(self, jobs: tuple[FoldJob, ...], shared: Any) -> list[FoldResult]:
        for job in jobs:
            if self.fails(job):
                raise RuntimeError("out of paper")
        self.jobs += jobs
        return [answers(j.trial, j.config, j.fold, j.seed, self.rates) for j in jobs]

    @property
    def cells(self) -> list[tuple[int, int, int]]:
        return [(job.trial, job.fold, job.seed) for job in self.jobs]


def plan(**how: Any) -> Plan:
    given = {"folds": range(FOLDS), "first_seed": 2, "seeds": 1, "noise_seeds": 1, "budget": None, **how}
    return make_plan(7, BEST, TRICKS, **given)


def run(
    trainer: Trainer, folder: Path, made: Plan, monkeypatch: pytest.MonkeyPatch, screen: Screen | None = None
) -> pd.DataFrame:
    monkeypatch.setattr(ablation, "confirm_folds", trainer)
    folds = {i: Fold(i, np.arange(0), np.arange(0)) for i in range(FOLDS)}
    shared: Any = SimpleNamespace(training=None, folds=folds)
    return run_ablation(made, Run(folder), shared, JUDGES, Resources(), INLINE, screen or Screen())


EQUAL = {"all": 0.95, "augment.rotate": 0.95, "mix.mixup_alpha": 0.95, "train.ema_decay": 0.95}


def test_all_configurations_are_trained_on_the_same_folds_and_seeds(tmp_path: Path, monkeypatch) -> None:
    trainer = Trainer(EQUAL)
    run(trainer, tmp_path, plan(seeds=2), monkeypatch)
    assert trainer.cells == [
        (place, fold, seed) for seed in (2, 3) for fold in range(FOLDS) for place in range(4)
    ]
    configs = {job.trial: job.config for job in trainer.jobs}
    assert configs == {0: BEST, **{i + 1: t.config for i, t in enumerate(TRICKS)}}


def test_the_noise_is_of_the_whole_configuration_on_the_first_fold(tmp_path: Path, monkeypatch) -> None:
    trainer = Trainer(EQUAL)
    table = run(trainer, tmp_path, plan(noise_seeds=5), monkeypatch)
    more = [(0, 0, seed) for seed in (3, 4, 5, 6)]
    assert [cell for cell in trainer.cells if cell[2] > 2] == more
    assert set(more) <= set(trainer.cells[: 4 + 4])  # in the first round
    scores = [answers(0, BEST, 0, seed, EQUAL).score for seed in (2, 3, 4, 5, 6)]
    first = table.iloc[0]
    assert first["noise"] == pytest.approx(np.std(scores, ddof=1))
    assert first["least"] == pytest.approx(POWERFUL * first["noise"] * np.sqrt(2 / 3))
    # its own score is that of the folds and seeds that all have
    mean = np.mean([answers(0, BEST, fold, 2, EQUAL).score for fold in range(FOLDS)])
    assert first["score"] == pytest.approx(mean) and first["trainings"] == 3
    assert np.isnan(run(Trainer(EQUAL), tmp_path / "one", plan(), monkeypatch).iloc[0]["noise"])


def test_what_is_finished_is_not_trained_again(tmp_path: Path, monkeypatch) -> None:
    made = plan(noise_seeds=3)
    assert on_record(made, Run(tmp_path)) == 0
    first, again = Trainer(EQUAL), Trainer(EQUAL)
    table = run(first, tmp_path, made, monkeypatch)
    assert on_record(made, Run(tmp_path)) == len(first.jobs) == made.trainings == 14
    pd.testing.assert_frame_equal(run(again, tmp_path, made, monkeypatch), table)
    assert again.jobs == []
    lost = sorted(Run(tmp_path).ablation.glob("*-fold1-seed2.npz"))[0]
    lost.unlink()
    third = Trainer(EQUAL)
    pd.testing.assert_frame_equal(run(third, tmp_path, made, monkeypatch), table)
    assert [cell[1:] for cell in third.cells] == [(1, 2)]
    written = pd.read_csv(tmp_path / "ablation/ablation.csv")
    numbers = table.select_dtypes("number")
    pd.testing.assert_frame_equal(written[numbers.columns], numbers, check_dtype=False)


def test_a_training_on_record_serves_a_plan_of_other_tricks(tmp_path: Path, monkeypatch) -> None:
    rates = {"all": 0.95, "augment.rotate": 0.95, "mix.mixup_alpha": 0.95, "train.ema_decay": 0.94}
    table = run(Trainer(rates), tmp_path, plan(), monkeypatch).set_index("trick")
    again = Trainer(rates)
    alone = make_plan(7, BEST, TRICKS[2:], range(FOLDS), 2, 1, 1)
    other = run(again, tmp_path, alone, monkeypatch).set_index("trick")
    assert again.jobs == []
    assert other.loc["train.ema_decay", "difference"] == table.loc["train.ema_decay", "difference"] > 0


def test_rows_of_one_group_are_no_independent_judges() -> None:
    made = plan()
    results = [answers(p, c, f, 2, EQUAL) for p, c in enumerate(made.configs) for f in range(FOLDS)]
    groups = np.arange(ROWS) // 3 % 12
    judges = Judges(Metric(), LABELS, (slice(0, 2),), groups)
    outcomes = judges.outcomes(results)
    assert outcomes is not None
    expected = compare(outcomes[0], outcomes[1], groups, training_noise(outcomes, groups))
    row = ablation_table(made, results, judges).set_index("trick").loc["augment.rotate"]
    assert (row["low"], row["high"]) == (expected.low, expected.high)
    other = compare(outcomes[0], outcomes[1], groups, training_noise(outcomes))
    assert other.low != expected.low


def test_a_trick_of_another_value_is_another_training(tmp_path: Path, monkeypatch) -> None:
    made = plan()
    run(Trainer(EQUAL), tmp_path, made, monkeypatch)
    changed = BEST.model_copy(update={"augment": BEST.augment.model_copy(update={"rotate": 10.0})})
    other = make_plan(7, changed, tricks_of(changed), range(FOLDS), 2, 1, 1)
    # without rotation both are the same configuration
    assert on_record(other, Run(tmp_path)) == FOLDS
    monkeypatch.setattr(ablation, "TRAINING_VERSION", -1)
    assert on_record(made, Run(tmp_path)) == 0


def test_the_table_has_the_paired_differences_and_holms_p(tmp_path: Path, monkeypatch) -> None:
    rates = {"all": 0.95, "augment.rotate": 0.935, "mix.mixup_alpha": 0.95, "train.ema_decay": 0.965}
    table = run(Trainer(rates), tmp_path, plan(), monkeypatch).set_index("trick")
    assert list(table.index) == ["all tricks", "augment.rotate", "mix.mixup_alpha", "train.ema_decay"]
    assert table["verdict"].tolist() == ["-", "helps", "cannot tell", "hurts"]
    assert table.loc["augment.rotate", ["value", "off"]].tolist() == ["9", "0"]
    configs = [BEST, *(t.config for t in TRICKS)]
    results = [
        answers(p, c, f, 2, rates) for p, c in enumerate(configs) for f in range(FOLDS) if c is not None
    ]
    outcomes = JUDGES.outcomes(results)
    assert outcomes is not None
    noise = training_noise(outcomes)
    seen = [compare(outcomes[0], outcomes[p], None, noise) for p in (1, 2, 3)]
    for place, trick in enumerate(TRICKS):
        row = table.loc[trick.key]
        assert (row["difference"], row["low"], row["high"]) == pytest.approx(
            (seen[place].difference, seen[place].low, seen[place].high)
        )
        assert row["score"] == pytest.approx(np.mean([r.score for r in results if r.trial == place + 1]))
        assert row["p"] == pytest.approx(holm([s.p for s in seen])[place])
    assert table.loc["mix.mixup_alpha", "more_trainings"] >= 1
    assert table.loc["augment.rotate", "more_trainings"] == 0


def test_holm_decides_and_not_the_single_p() -> None:
    made = plan()
    rates = dict(EQUAL)
    for gain in np.arange(0.002, 0.03, 0.001):  # the first gain that is told by itself
        rates["train.ema_decay"] = 0.95 - gain
        results = [answers(p, c, f, 2, rates) for p, c in enumerate(made.configs) for f in range(FOLDS)]
        outcomes = JUDGES.outcomes(results)
        assert outcomes is not None
        alone = compare(outcomes[0], outcomes[3], None, training_noise(outcomes)).p
        if 0.02 < alone < 0.05:
            break
    assert 0.02 < alone < 0.05
    row = ablation_table(made, results, JUDGES).set_index("trick").loc["train.ema_decay"]
    assert row["p"] == pytest.approx(3 * alone) and row["verdict"] == "cannot tell"


def test_macro_f1_is_compared_by_fold_and_seed() -> None:
    made = plan()
    rates = {**EQUAL, "augment.rotate": 0.93}
    results = [answers(p, c, f, 2, rates) for p, c in enumerate(made.configs) for f in range(FOLDS)]
    judges = Judges(Metric("macro_f1"), LABELS, (slice(0, 2),))
    row = ablation_table(made, results, judges).set_index("trick").loc["augment.rotate"]
    scores = [[r.score for r in results if r.trial == place] for place in (0, 1)]
    interval = scipy.stats.ttest_rel(scores[0], scores[1]).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))


def test_what_is_told_beyond_doubt_leaves_early_and_stays_told(tmp_path: Path, monkeypatch) -> None:
    rates = {**EQUAL, "augment.rotate": 0.40}
    trainer = Trainer(rates)
    table = run(trainer, tmp_path, plan(seeds=2), monkeypatch).set_index("trick")
    own = [cell[1:] for cell in trainer.cells if cell[0] == 1]
    assert own == [(0, 2), (1, 2)]  # never on one training alone
    assert len([cell for cell in trainer.cells if cell[0] == 0]) == 6
    assert table.loc["augment.rotate", "verdict"] == "helps" and table.loc["augment.rotate", "trainings"] == 2
    assert table.loc["train.ema_decay", "trainings"] == 6


def test_nobody_leaves_on_one_training(tmp_path: Path, monkeypatch) -> None:
    trainer = Trainer({**EQUAL, "augment.rotate": 0.40}, fails=lambda job: (job.trial, job.fold) == (1, 1))
    run(trainer, tmp_path, plan(seeds=1), monkeypatch)
    assert [cell[1:] for cell in trainer.cells if cell[0] == 1] == [(0, 2), (2, 2)]


def test_it_ends_where_every_trick_is_told(tmp_path: Path, monkeypatch) -> None:
    rates = {"all": 0.95, "augment.rotate": 0.80, "mix.mixup_alpha": 0.75, "train.ema_decay": 0.70}
    trainer = Trainer(rates)
    run(trainer, tmp_path, plan(seeds=3), monkeypatch)
    assert {cell[1:] for cell in trainer.cells} == {(0, 2), (1, 2)}


def test_a_budget_ends_before_a_round_that_it_does_not_allow(tmp_path: Path, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(Screen, "say", lambda self, text="": said.append(text))
    trainer = Trainer(EQUAL)
    table = run(trainer, tmp_path, plan(budget=11), monkeypatch)
    assert len(trainer.jobs) == 8 and plan(budget=11).trainings == 11
    assert "the budget of 11 trainings ends after 2 of 3 rounds" in said
    assert table["trainings"].tolist() == [2, 2, 2, 2]
    more = Trainer(EQUAL)  # what is on record counts, so the same budget allows no more
    run(more, tmp_path, plan(budget=11), monkeypatch)
    assert more.jobs == []
    run(more, tmp_path, plan(budget=12), monkeypatch)
    assert len(more.jobs) == 4


def test_a_training_that_fails_is_said_and_the_rest_is_told(tmp_path: Path, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(Screen, "warn", lambda self, text: said.append(text))
    trainer = Trainer(EQUAL, fails=lambda job: job.trial == 2)
    table = run(trainer, tmp_path, plan(), monkeypatch).set_index("trick")
    assert "without mix.mixup_alpha, fold 0, seed 2 failed: out of paper" in said
    assert table.loc["mix.mixup_alpha", "trainings"] == 0
    assert table.loc["mix.mixup_alpha", "verdict"] == "cannot tell"
    assert table.loc["augment.rotate", "trainings"] == 3


def test_a_trick_that_cannot_go_alone_is_not_trained() -> None:
    stuck = Trick("loss.ohem_on", "mixed", "all", None, "because")
    made = make_plan(7, BEST, [*TRICKS[:1], stuck], range(FOLDS), 0, 1, 1)
    assert [t.key for t in made.tricks] == ["augment.rotate"] and len(made.configs) == 2


def seeds_of(cells: Sequence[tuple[int, int]]) -> set[int]:
    return {seed for _, seed in cells}


def test_the_seeds_are_none_of_the_confirmation() -> None:
    made = plan(first_seed=3, seeds=2, noise_seeds=4)
    assert seeds_of(made.cells) == {3, 4} and made.noise == ((0, 5), (0, 6))
    assert plan(first_seed=3, seeds=2, noise_seeds=1).noise == ()
