"""What a history of reports says of a training: over, diverged, stopped early."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tune_digits.config import Train
from tune_digits.learn.epoch import EpochReport, diverged, is_over, stopped_early


def reports(scores: Sequence[float | None], loss: float = 1.0) -> list[EpochReport]:
    """Of epochs with these scores; `loss` is that of the last."""
    losses = [1.0] * (len(scores) - 1) + [loss]
    pairs = zip(scores, losses[: len(scores)], strict=True)
    return [EpochReport(i, loss, None, score, 0.1, 1.0, 0.1, 1.0) for i, (score, loss) in enumerate(pairs, 1)]


@pytest.mark.parametrize(
    ("scores", "patience", "stopped"),
    [
        ([0.5, 0.6, 0.6, 0.6], 2, True),  # an equal score is no better one
        ([0.5, 0.6, 0.6], 2, False),
        ([0.5, 0.6, 0.4, 0.7], 1, False),
        ([0.5, 0.6, 0.4], 1, True),
        ([0.6, 0.1, 0.1, 0.1], 0, False),
        ([None, None, None, None], 1, False),
        ([], 1, False),
    ],
)
def test_early_stopping_waits_for_patience_epochs(
    scores: list[float | None], patience: int, stopped: bool
) -> None:
    train = Train(epochs=9, early_stopping=patience)
    assert stopped_early(reports(scores), train) is is_over(reports(scores), train) is stopped


def test_a_training_ends_with_its_epochs_or_its_loss() -> None:
    assert is_over(reports([0.1, 0.2]), Train(epochs=2))
    assert not is_over(reports([0.1, 0.2]), Train(epochs=3))
    assert not is_over([], Train(epochs=1))
    for loss in (math.nan, math.inf):
        assert diverged(reports([0.1], loss))
        assert is_over(reports([0.1], loss), Train(epochs=9))
    assert not diverged(reports([0.1, 0.2]))
    assert not diverged([])


def test_each_way_to_end_has_one_name() -> None:
    """Finished, diverged and stopped early exclude each other."""
    train = Train(epochs=3, early_stopping=1)
    assert not stopped_early(reports([0.5, 0.6, 0.4]), train)  # it has finished
    assert not stopped_early(reports([0.5, 0.0], math.nan), train)  # it has diverged
    assert stopped_early(reports([0.5, 0.4]), train)


def test_these_questions_need_no_torch() -> None:
    code = "import sys, tune_digits.learn.epoch, tune_digits.learn.version; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
