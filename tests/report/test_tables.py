"""Records as tables, and searched keys as axes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import made_run, made_study
from run_samples import record

from tune_digits.report.tables import KeyAxis, associations, curves_frame, key_axes, trials_frame
from tune_digits.study import make_study


def test_a_trial_is_a_row_with_its_searched_values() -> None:
    records = [
        record(0, 0.5, role="baseline"),
        replace(record(1, None, 2, state="failed"), searched={"x.y": "z"}),
    ]
    frame = trials_frame(records)
    assert frame["number"].tolist() == [0, 1] and frame["state"].tolist() == ["finished", "failed"]
    assert frame["score"][0] == 0.5 and math.isnan(frame["score"][1])
    assert frame["optimizer.lr"][0] == 0 and math.isnan(frame["optimizer.lr"][1])
    assert frame["x.y"][1] == "z"
    assert trials_frame([]).empty


def test_an_epoch_is_a_row(tmp_path: Path) -> None:
    run, _, _ = made_run(tmp_path, 3, 0)
    records = run.trials()
    frame = curves_frame(run, records)
    assert len(frame) == sum(r.epochs for r in records)
    own = frame[frame["trial"] == 1]
    assert own["epoch"].tolist() == list(range(1, records[1].epochs + 1))
    assert own["score"].iloc[-1] == pytest.approx(records[1].score)
    assert curves_frame(run, []).empty


def test_axes_are_those_of_the_study() -> None:
    raw = {
        "trial": {
            "model": {
                "name": "lean_cnn",
                "width": {"choice": [16, 4]},
                "activation": {"choice": ["relu", "gelu"]},
            },
            "optimizer": {"name": "adamw", "lr": {"loguniform": [1e-3, 1e-1]}},
            "augment": {"rotate": {"uniform": [0, 20]}, "shift": {"uniform": [0, 0.2]}},
        }
    }
    trials = pd.DataFrame(
        {
            "model.width": [16, 4, 4],
            "model.activation": ["relu", "gelu", None],
            "optimizer.lr": [0.01, 0.02, np.nan],
            "augment.rotate": [3.0, 4.0, 25.0],
            "augment.shift": [0.1, 0.1, 0.1],  # only one value was tried
        }
    )
    axes = {axis.key: axis for axis in key_axes(make_study(raw, "a.yaml", "a", {}).space, trials)}
    assert list(axes) == ["model.width", "model.activation", "optimizer.lr", "augment.rotate"]
    assert axes["model.width"].labels == ("4", "16")
    assert axes["model.activation"].labels == ("relu", "gelu")
    assert axes["augment.rotate"] == KeyAxis("augment.rotate", False, (), 0.0, 25.0)
    assert axes["optimizer.lr"].log and (axes["optimizer.lr"].low, axes["optimizer.lr"].high) == (1e-3, 1e-1)


def test_places_on_an_axis() -> None:
    lr = KeyAxis("lr", True, (), 0.001, 0.1)
    assert lr.fractions([0.001, 0.01, 0.1]) == pytest.approx([0, 0.5, 1])
    names = KeyAxis("name", False, ("a", "b", "True"), 0, 2)
    assert names.fractions(["b", True])[:2] == pytest.approx([0.5, 1])
    assert np.isnan(names.places([None, math.nan])).all()
    assert KeyAxis("k", False, (), 2.0, 2.0).fractions([2.0])[0] == 0.5


def test_a_key_that_makes_the_score_comes_first() -> None:
    rng = np.random.default_rng(0)
    rotate, shift = rng.uniform(0, 20, 40), rng.uniform(0, 1, 40)
    state = ["finished"] * 30 + ["pruned"] * 10
    score = np.where(np.arange(40) < 30, 1 - rotate / 100, rotate / 100)  # stopped ones say the opposite
    frame = pd.DataFrame(
        {"state": state, "score": score, "a.shift": shift, "a.rotate": rotate, "a.name": ["x", "y"] * 20}
    )
    axes = [KeyAxis("a.shift", False, (), 0, 1), KeyAxis("a.rotate", False, (), 0, 20)]
    axes.append(KeyAxis("a.name", False, ("x", "y"), 0, 1))
    table = associations(frame, axes)
    assert table["key"].tolist() == ["a.rotate", "a.shift"]
    assert table["rho"][0] == pytest.approx(-1) and table["trials"].tolist() == [30, 30]
    assert (table["low"] < table["high"]).all() and table["high"][0] < 0


def test_made_runs_have_the_axes_of_their_study() -> None:
    assert "optimizer.lr" in made_study().space.searched()
