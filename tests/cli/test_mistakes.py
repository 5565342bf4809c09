"""A mistake in a flag: code 2, one message that names the flag as it was written, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import contents, ensemble, predict, search

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--trials", 0), ["--trials 0"]),
        (("--epochs", -1), ["--epochs -1"]),
        (("--folds", 1), ["--folds 1"]),
        (("--groups", 0), ["--groups"]),
        (("--subset", 0), ["--subset 0"]),
        (("--candidates", 0), ["--candidates 0"]),
        (("--confirm-folds", 0), ["--confirm-folds 0"]),
        (("--confirm-folds", 9), ["--confirm-folds 9"]),
        (("--seed", -1), ["--seed -1"]),
        (("--max-concurrent", 0), ["--max-concurrent 0"]),
        (("--cpus-per-trial", 0), ["--cpus-per-trial 0"]),
        (("--gpus-per-trial", -1), ["--gpus-per-trial -1"]),
        (("--set", "optimizer.lr=abc"), ["--set optimizer.lr=abc"]),
        (("--set", "optimizer.name=sdg"), ["--set optimizer.name=sdg", "'sgd'"]),
        (("--set", "search.trails=3"), ["--set search.trails=3", "trials"]),
        # --set is over the other flags, and so is the culprit
        (("--trials", 5, "--set", "search.trials=0"), ["--set search.trials=0"]),
        (("--data", "nowhere"), ["nowhere"]),
        (("--set", "nonsense"), ["--set nonsense", "key=value"]),
        (("--space", "smal"), ["'smal'"]),
    ],
)
def test_search(here: Path, capsys: Output, flags: tuple[object, ...], words: list[str]) -> None:
    refused(
        here, capsys, search, *(() if "--space" in flags else ("--space", "small.yaml")), *flags, words=words
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--top", 0), ["--top 0"]),
        (("--seeds", 0), ["--seeds 0"]),
        (("--epochs", 0), ["--epochs 0"]),
        (("--pseudo", 2), ["--pseudo 2"]),
        (("--tta", 10), ["--tta 10"]),
        (("--cpus-per-trial", 0), ["--cpus-per-trial 0"]),
        (("--run", "nowhere"), ["nowhere"]),
    ],
)
def test_ensemble(searched: Path, capsys: Output, flags: tuple[object, ...], words: list[str]) -> None:
    refused(searched.parent.parent, capsys, ensemble, *flags, words=words)


def test_predict_without_an_ensemble(here: Path, capsys: Output) -> None:
    refused(here, capsys, predict, "--data", "halves/test.csv", words=["runs/latest", "ensemble.py"])


def refused(
    here: Path, capsys: Output, command: Callable[..., int], *flags: object, words: list[str]
) -> None:
    before = contents(here)
    assert command(*flags) == 2
    assert contents(here) == before
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "Traceback" not in err
    for word in words:
        assert word in err


def test_what_is_no_number_is_refused_by_its_flag(here: Path, capsys: Output) -> None:
    for flag in ("--trials", "--epochs", "--subset", "--cpus-per-trial"):
        with pytest.raises(SystemExit, match="2"):
            search(flag, "many")
        assert f"{flag}: " in capsys.readouterr().err
