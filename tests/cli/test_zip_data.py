"""A zip file as `--data` of every command: the same data as its folder, also when a run is taken up again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
from commands import ensemble, predict, search

from tune_digits.runs import Run


def test_search_ensemble_and_predict_take_a_zip_file(here: Path) -> None:
    assert search("--space", "small.yaml", "--run-dir", "plain", "--trials", 1) == 0
    shutil.make_archive("competition", "zip", "halves")
    shutil.rmtree("halves")
    data = ("--data", "competition.zip")
    assert search("--space", "small.yaml", "--run-dir", "zipped", "--trials", 1, *data) == 0
    plain, zipped = (Run(Path(name)).trials()[0] for name in ("plain", "zipped"))
    assert zipped.fingerprints == plain.fingerprints
    assert zipped.score == plain.score
    assert search("--resume", "zipped", "--trials", 2) == 0
    assert ensemble("--run", "zipped") == 0
    assert predict("--run", "zipped", *data, "--out", "answers.csv") == 0
    pd.testing.assert_frame_equal(
        pd.read_csv("answers.csv"), pd.read_csv("zipped/ensemble/submission.csv"), check_dtype=False
    )
