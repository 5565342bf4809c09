"""Every flag of `blend` changes what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import Covered

from tune_digits.cli.blend import main, make_parser
from tune_digits.ensemble.predictions import read_predictions

flags = Covered()
Output = pytest.CaptureFixture[str]


def test_every_flag_has_a_test() -> None:
    known = {flag for action in make_parser()._actions for flag in action.option_strings}
    assert known - {"-h", "--help"} == flags.names


def blend(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables of probabilities a and b, and submissions one and two, of the images 1 and 2."""
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("id,0,1,2\n1,0.6,0.3,0.1\n2,0.1,0.8,0.1\n")
    Path("b.csv").write_text("id,0,1,2\n1,0,0.9,0.1\n2,0,0.1,0.9\n")
    Path("one.csv").write_text("id,label\n1,0\n2,2\n")
    Path("two.csv").write_text("id,label\n1,2\n2,1\n")
    return tmp_path


def written(path: str = "submission.csv") -> list[int]:
    return pd.read_csv(path)["label"].tolist()


@flags("-o", "--out")
def test_the_vote_is_written_and_nothing_overwritten(here: Path, capsys: Output) -> None:
    assert blend("a.csv", "b.csv") == 0
    assert written() == [1, 2]
    assert "2 files, unanimous on 0.0% of 2 images" in capsys.readouterr().out
    assert blend("a.csv", "b.csv") == 2
    assert "--out submission.csv: is there already" in capsys.readouterr().err
    for flag in ("-o", "--out"):
        assert blend("a.csv", "one.csv", flag, f"by{flag}.csv") == 0
        assert written(f"by{flag}.csv") == [0, 2]


@flags("--weights")
def test_weights_weigh_the_files(here: Path, capsys: Output) -> None:
    assert blend("a.csv", "b.csv", "--weights", "3,1") == 0
    assert written() == [0, 1]
    assert blend("a.csv", "b.csv", "--weights", "1,2,3", "-o", "x.csv") == 2
    assert "3 numbers for 2 files" in capsys.readouterr().err
    for wrong in ("1,x", "0,1", "-1,1", ""):
        with pytest.raises(SystemExit, match="2"):
            blend("a.csv", "b.csv", f"--weights={wrong}", "-o", "x.csv")


@flags("--vote")
def test_the_rule_is_the_one_named(here: Path, capsys: Output) -> None:
    assert blend("a.csv", "b.csv", "one.csv", "--vote", "hard", "-o", "hard.csv") == 0
    assert written("hard.csv") == [0, 2]
    assert blend("one.csv", "two.csv", "--vote", "soft", "-o", "soft.csv") == 2
    assert "has labels and no probabilities" in capsys.readouterr().err
    assert not Path("soft.csv").exists()


@flags("--proba")
def test_the_probabilities_are_written_for_a_further_vote(here: Path, capsys: Output) -> None:
    assert blend("a.csv", "b.csv", "--proba", "ab.npz") == 0
    said = read_predictions(Path("ab.npz"))
    assert said.names == ("a", "b")
    np.testing.assert_allclose(said.vote, [[0.3, 0.6, 0.1], [0.05, 0.45, 0.5]])
    assert blend("ab.npz", "a.csv", "--proba", "again.csv", "-o", "again_.csv") == 0
    assert pd.read_csv("again.csv").iloc[0].tolist() == pytest.approx([1, 0.45, 0.45, 0.1])
    assert blend("a.csv", "b.csv", "--proba", "ab.npz", "-o", "new.csv") == 2
    assert "--proba ab.npz: is there already" in capsys.readouterr().err
    assert not Path("new.csv").exists()


@flags("--debug")
def test_mistakes_are_said_in_one_line(here: Path, capsys: Output) -> None:
    for words in (("a.csv",), ("a.csv", "nowhere.csv"), ("a.csv", "nowhere.npz")):
        for debug in ((), ("--debug",)):
            assert blend(*words, "-o", "x.csv", *debug) == 2
            err = capsys.readouterr().err
            assert words[-1] in err and ("Traceback" in err) == bool(debug)
