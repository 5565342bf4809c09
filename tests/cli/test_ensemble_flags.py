"""Every flag of `ensemble` changes what it says: each has a test that fails where the flag is not passed on."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import Covered, FakeRay, board, contents, ensemble, records, search, study

from tune_digits import disk
from tune_digits.cli.ensemble import make_parser
from tune_digits.ensemble.predictions import read_predictions
from tune_digits.runs import Run
from tune_digits.tune.answer import read_answer, write_answer

flags = Covered()
Output = pytest.CaptureFixture[str]


def test_every_flag_has_a_test() -> None:
    known = {flag for action in make_parser()._actions for flag in action.option_strings}
    assert known - {"-h", "--help"} == flags.names


def report(run: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((run / "ensemble/report.json").read_text())
    return read


def manifest(run: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((run / "ensemble/manifest.json").read_text())
    return read


def members(run: Path) -> list[tuple[int, int]]:
    return [(member["trial"], member["seed"]) for member in report(run)["members"]]


@flags("--run")
def test_the_run_is_the_one_named_or_the_latest(searched: Path, capsys: Output) -> None:
    shutil.copytree(searched, "other")
    assert ensemble("--run", "other") == 0
    assert Path("other/ensemble/submission.csv").exists() and not (searched / "ensemble").exists()
    assert "submission: other/ensemble/submission.csv\n" in capsys.readouterr().out
    assert ensemble() == 0
    assert (searched / "ensemble/submission.csv").exists()
    assert "submission: runs/run/ensemble/submission.csv\n" in capsys.readouterr().out
    assert ensemble("--run", "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err


@flags("--top")
def test_top_are_the_best_confirmed(searched: Path, capsys: Output) -> None:
    order = [int(trial) for trial in board(searched)["trial"]]
    assert len(order) == 4
    assert ensemble("--top", 3) == 0
    assert members(searched) == [(trial, 0) for trial in order[:3]]
    assert ensemble() == 0
    assert members(searched) == [(order[0], 0)]
    capsys.readouterr()
    named = (searched / "study.yaml").read_text().replace("members: null", f"members: ['{order[1]}']")
    (searched / "study.yaml").write_text(named)
    assert ensemble() == 0
    assert members(searched) == [(order[1], 0)]
    assert ensemble("--top", 2) == 0  # what is typed counts
    assert members(searched) == [(trial, 0) for trial in order[:2]]
    capsys.readouterr()
    assert ensemble("--top", 9) == 0
    assert "9" in capsys.readouterr().out and len(members(searched)) == 4


@flags("--members")
def test_members_are_those_that_are_named(searched: Path, capsys: Output) -> None:
    first, second, *_ = [int(trial) for trial in board(searched)["trial"]]
    rate = board(searched)["optimizer.lr"].iloc[0]
    assert ensemble("--members", f"{second},optimizer.lr={rate}") == 0
    assert members(searched) == [(second, 0), (first, 0)]
    with pytest.raises(SystemExit, match="2"):
        ensemble("--members", "1", "--top", 2)
    with pytest.raises(SystemExit, match="2"):
        ensemble("--members", "1,,2")
    capsys.readouterr()
    assert ensemble("--members", "nobody") == 2
    assert "--members nobody: no trial is called that" in capsys.readouterr().err


@flags("--members")
def test_a_member_that_is_not_confirmed_is_taken_and_said(searched: Path, capsys: Output) -> None:
    table = board(searched)
    (last,) = table["trial"].iloc[-1:]
    table.iloc[:-1].to_csv(searched / "leaderboard.csv", index=False)
    assert ensemble("--members", last) == 0
    assert members(searched) == [(last, 0)]
    assert f"trial(s) {last} are not confirmed" in capsys.readouterr().out


@flags("--each")
def test_each_member_has_a_submission_of_its_own(searched: Path, capsys: Output) -> None:
    def submissions() -> dict[str, list[int]]:
        files = sorted((searched / "ensemble").glob("submission*.csv"))
        return {path.name: pd.read_csv(path)["label"].tolist() for path in files}

    assert ensemble("--top", 3, "--each", "--vote", "hard") == 0
    out = capsys.readouterr().out
    told = report(searched)
    names = [member["name"] for member in told["members"]]
    files = {"vote": "submission.csv", **{name: f"submission-{name}.csv" for name in names}}
    assert told["submissions"] == files
    assert all(f"{searched.name}/ensemble/{file}\n" in out for file in files.values())
    found = submissions()
    assert set(found) == set(files.values())
    votes = zip(*(found[files[name]] for name in names), strict=True)
    assert found["submission.csv"] == [max(set(row), key=row.count) for row in votes]
    # members alone answer as they do by themselves
    trials = [member["trial"] for member in told["members"]]
    assert ensemble("--members", trials[1]) == 0
    assert list(submissions().values()) == [found[files[names[1]]]], "and the files of before are gone"


def test_the_images_on_which_members_agree_least_are_printed(searched: Path, capsys: Output) -> None:
    # members that learn nothing: what they answer is chance
    for record in records(searched):
        optimizer = record.config.optimizer.model_copy(update={"lr": 1e-9})
        model = record.config.model.model_copy(update={"width": 4 + record.number})
        config = record.config.model_copy(update={"optimizer": optimizer, "model": model})
        Run(searched).write_trial(replace(record, config=config))
    assert ensemble("--top", 4, "--each") == 0
    out = capsys.readouterr().out
    told = report(searched)
    files = told["submissions"]
    answers = {
        who: pd.read_csv(searched / "ensemble" / f, index_col="id")["label"] for who, f in files.items()
    }
    table = pd.DataFrame(answers)
    split = table[table.nunique(axis=1) > 1]
    assert len(split), "the members of this test do disagree"
    assert len(told["disputed"]) == min(10, len(split))
    for row in told["disputed"]:
        own = table.loc[int(row["id"])]
        assert own.nunique() > 1
        assert row["members"] == {name: str(own[name]) for name in files if name != "vote"}
        assert row["vote"] == str(own["vote"])
        words = ", ".join(f"{name} {answer}" for name, answer in row["members"].items())
        assert f"  id {row['id']}: {words}; vote {row['vote']}\n" in out


@flags("--prefer")
def test_prefer_says_who_comes_first(searched: Path) -> None:
    table = pd.read_csv(searched / "leaderboard.csv")
    table["confirmed"], table["confirmed_se"] = [0.9, 0.89, 0.88, 0.5], 0.05
    table["out_of_domain"] = [0.6, 0.7, 0.8, 0.9]
    table["worst_groups"] = [0.1, 0.3, 0.2, 0.9]
    table.to_csv(searched / "leaderboard.csv", index=False)
    trials = table["trial"].tolist()
    said = replace(read_answer(Run(searched)), trial=trials[3], tied=tuple(trials[:3]))
    write_answer(Run(searched), said)
    assert ensemble("--prefer", "out_of_domain") == 0
    assert members(searched) == [(trials[2], 0)]
    assert ensemble("--prefer", "worst_groups") == 0
    assert members(searched) == [(trials[1], 0)]
    assert ensemble("--prefer", "choice") == 0
    assert members(searched) == [(trials[3], 0)]
    assert ensemble("--prefer", "confirmed") == 0
    assert members(searched) == [(trials[0], 0)]


@flags("--export")
def test_the_vote_is_exported(searched: Path, capsys: Output) -> None:
    assert ensemble("--export", "torchscript") == 0
    assert (searched / "ensemble/vote.torchscript.pt").is_file()
    assert "the vote for other programs: runs/run/ensemble/vote.torchscript.pt" in capsys.readouterr().out


@flags("--seeds")
def test_each_configuration_is_trained_with_so_many_seeds(searched: Path) -> None:
    assert ensemble("--seeds", 3) == 0
    assert [seed for _, seed in members(searched)] == [0, 1, 2]


@flags("--epochs")
def test_members_are_trained_for_so_many_epochs(searched: Path) -> None:
    for given, epochs in ((("--epochs", 3), 3), ((), 1)):
        assert ensemble(*given) == 0
        (member,) = report(searched)["members"]
        _, meta = disk.read_tensors(searched / "ensemble" / member["file"])
        assert meta["config"]["train"]["epochs"] == epochs


@flags("--vote")
def test_the_vote_is_in_the_report_and_the_manifest(searched: Path) -> None:
    for rule in ("hard", "soft", "rank"):
        assert ensemble("--vote", rule) == 0
        assert report(searched)["vote"]["rule"] == manifest(searched)["vote"]["rule"] == rule


def spoil(searched: Path, *trials: int) -> None:
    """Let the confirming trainings of these trials be sure and wrong on every row, and those of the others be right."""
    run = Run(searched)
    labels = pd.read_csv(Path(study(searched)["data"]["path"]) / "train.csv")["label"].to_numpy()
    for result in run.folds():
        truth = np.eye(2)[labels[result.valid_idx]]
        said = 0.9 - 0.8 * truth if result.trial in trials else 0.4 + 0.2 * truth
        run.write_fold(replace(result, valid_proba=said))


@flags("--force-members")
def test_who_makes_the_vote_worse_is_left_out_unless_forced(searched: Path, capsys: Output) -> None:
    order = [int(trial) for trial in board(searched)["trial"]]
    spoil(searched, order[1])
    assert ensemble("--top", 4, "--vote", "soft") == 0
    out = capsys.readouterr().out
    assert members(searched) == [(order[0], 0), (order[0], 1), (order[2], 0), (order[3], 0)]
    (left_out,) = report(searched)["vote"]["left_out"]
    assert left_out["trial"] == order[1] and left_out["gain"] == pytest.approx(1)
    assert f"trial {order[1]} does not vote" in out and "--force-members" in out
    assert f"further seeds of the others: trial {order[0]}: 2, trial {order[2]}: 1," in out
    assert ensemble("--top", 4, "--vote", "soft", "--force-members") == 0
    assert members(searched) == [(trial, 0) for trial in order]
    assert report(searched)["vote"]["left_out"] == []
    named = ",".join(map(str, order[:2]))
    assert ensemble("--members", named, "--vote", "soft") == 0
    assert members(searched) == [(trial, 0) for trial in order[:2]]


@flags("--vote")
def test_what_a_vote_has_learnt_is_in_the_manifest(searched: Path) -> None:
    order = [int(trial) for trial in board(searched)["trial"]]
    spoil(searched, order[1])
    assert ensemble("--members", f"{order[0]},{order[1]}", "--vote", "greedy", "--seeds", 2) == 0
    ((good, bad),) = zip(*report(searched)["vote"]["weights"].values(), strict=True)
    assert good > 0.9
    assert manifest(searched)["vote"]["weights"] == [[good / 2, good / 2, bad / 2, bad / 2]]
    assert manifest(searched)["vote"]["configurations"] == [0, 0, 1, 1]


@flags("--class-balance", "--force-balance")
def test_the_vote_is_matched_to_a_declared_balance_where_it_helps_or_is_forced(
    searched: Path, capsys: Output
) -> None:
    assert ensemble("--class-balance", "1=3,0=1", "--force-balance") == 0
    told = report(searched)["vote"]["class_balance"]
    assert told["used"] in ("prior", "sinkhorn") and sum(told["after"]) == 20
    first, second = manifest(searched)["vote"]["offsets"]
    assert second > first
    assert f"{told['changed']} of 20 test answers changed" in capsys.readouterr().out
    # the classes of these rows are equally frequent, and the answers right
    assert ensemble("--class-balance", "equal") == 0
    assert report(searched)["vote"]["class_balance"]["used"] is None
    assert manifest(searched)["vote"]["offsets"] == []
    assert "class balance: not used" in capsys.readouterr().out
    for wrong in ("1=3", "1=3,2=1", "1=0,0=1"):
        assert ensemble("--class-balance", wrong) == 2
    with pytest.raises(SystemExit, match="2"):
        ensemble("--class-balance", "even")
    assert ensemble("--force-balance") == 2
    assert "force_balance has no effect" in capsys.readouterr().err


@flags("--class-offsets")
def test_class_offsets_are_tried_where_they_are_asked_for(searched: Path, capsys: Output) -> None:
    assert ensemble() == 0
    assert "class_offsets" not in report(searched)["vote"]
    assert ensemble("--class-offsets") == 0
    assert report(searched)["vote"]["class_offsets"]["used"] is False
    assert "class offsets: not used" in capsys.readouterr().out


def test_what_members_say_of_the_test_images_is_a_file(searched: Path) -> None:
    assert ensemble("--top", 2, "--vote", "soft") == 0
    said = read_predictions(searched / "ensemble/proba.npz")
    assert list(said.names) == [member["name"] for member in report(searched)["members"]]
    table = pd.read_csv(searched / "ensemble/submission.csv")
    assert said.ids.tolist() == table["id"].tolist()
    assert said.vote.argmax(1).tolist() == table["label"].tolist()
    assert said.vote == pytest.approx(said.members.mean(0))
    assert (said.members[0] != said.members[1]).any()


@flags("--pseudo", "--no-pseudo")
def test_pseudo_labels_are_given_from_a_probability_on(searched: Path, capsys: Output) -> None:
    def given(*words: object) -> list[int]:
        assert ensemble(*words) == 0
        return [figures["pseudo_labels"] for figures in report(searched)["rounds"]]

    assert given() == [0]
    # of two classes one has at least a half
    assert given("--pseudo", 0.5) == [0, 20]
    (searched / "study.yaml").write_text(
        (searched / "study.yaml").read_text().replace("pseudo: null", "pseudo: 0.5")
    )
    assert given() == [0, 20]
    assert given("--pseudo", 1.0) == [0]
    assert given("--no-pseudo") == [0]
    with pytest.raises(SystemExit, match="2"):
        ensemble("--pseudo", 0.9, "--no-pseudo")
    assert "--pseudo" in capsys.readouterr().err


@flags("--pseudo-quantile", "--pseudo-cap", "--pseudo-agree", "--no-pseudo-agree")
@flags("--pseudo-soft", "--no-pseudo-soft", "--pseudo-rounds")
def test_the_rule_of_pseudo_labels_is_that_of_the_flags(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tune_digits.ensemble import build
    from tune_digits.ensemble.pseudo import Rule, rule_of

    seen = []

    def watched(plan: Any) -> Rule | None:
        seen.append((rule_of(plan), plan.pseudo_rounds))
        return None

    monkeypatch.setattr(build, "rule_of", watched)
    assert ensemble("--pseudo", 0.6) == 0
    given = ("--pseudo-quantile", 0.5, "--pseudo-cap", 7, "--pseudo-rounds", 3)
    assert ensemble("--pseudo", 0.6, *given, "--pseudo-agree", "--pseudo-soft") == 0
    assert ensemble("--pseudo", 0.6, *given, "--no-pseudo-agree", "--no-pseudo-soft") == 0
    assert seen == [
        (Rule(0.6), 1),
        (Rule(0.6, 0.5, True, 7, True), 3),
        (Rule(0.6, 0.5, False, 7, False), 3),
    ]


@flags("--verify", "--force-rungs")
def test_each_step_is_verified_first_and_left_out_where_it_does_not_help(
    searched: Path, capsys: Output
) -> None:
    assert ensemble("--tta", 5, "--verify", "--epochs", 2) == 0
    out = capsys.readouterr().out
    assert "accuracy in percent:\n  single best model " in out and "not used" in out
    names = [rung["name"] for rung in report(searched)["ladder"]]
    assert names[0] == "single best model" and names[1].startswith("+ TTA 5, ")
    assert report(searched)["tta"] == manifest(searched)["tta"] == 1
    folds = searched / "ensemble/ladder"
    assert sorted(path.name for path in folds.iterdir()) == ["fold0", "fold1", "fold2"]
    assert ensemble("--tta", 5, "--verify", "quick", "--force-rungs", "--epochs", 3) == 0
    assert manifest(searched)["tta"] == 5
    assert len(list(folds.rglob("*.safetensors"))) == 4  # those of three folds, and one more
    assert ensemble("--epochs", 2) == 0 and report(searched)["ladder"] == []
    capsys.readouterr()
    assert ensemble("--force-rungs") == 2
    assert "--verify" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        ensemble("--verify", "slowly")


@flags("--tta-strength")
def test_views_are_drawn_at_that_strength(searched: Path, capsys: Output) -> None:
    assert ensemble("--tta", 12, "--tta-strength", 0.3) == 0
    assert report(searched)["tta_strength"] == manifest(searched)["tta_strength"] == 0.3
    assert report(searched)["tta"] == 12
    capsys.readouterr()
    assert ensemble("--tta-strength", 0.3) == 2
    assert "no effect on one view" in capsys.readouterr().err


@flags("--tta")
def test_views_per_image_are_in_the_report_and_the_manifest(searched: Path) -> None:
    assert ensemble("--tta", 5) == 0
    assert report(searched)["tta"] == manifest(searched)["tta"] == 5


@flags("--executor", "--max-concurrent", "--address")
def test_the_executor_is_started_as_it_is_named(searched: Path, ray: FakeRay, capsys: Output) -> None:
    assert ensemble("--executor", "inline") == 0
    assert ray.asked == []
    assert ensemble("--executor", "ray", "--max-concurrent", 2, "--address", "head:6379", "--epochs", 2) == 0
    ((resources, address),) = ray.asked
    assert (resources.max_concurrent, address) == (2, "head:6379")
    capsys.readouterr()
    assert ensemble("--address", "head:6379") == 2
    assert "--address" in capsys.readouterr().err


@flags("--cpus-per-trial", "--gpus-per-trial")
def test_what_a_training_gets_must_be_there(
    searched: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_digits.execute.inline.available_cores", lambda: 4)
    monkeypatch.setattr("tune_digits.execute.inline.gpus_here", lambda: 0)
    assert ensemble("--cpus-per-trial", 5) == 2
    assert "4 cores" in capsys.readouterr().err
    assert ensemble("--gpus-per-trial", 0.5) == 2
    assert "0 GPUs" in capsys.readouterr().err
    assert not (searched / "ensemble").exists()
    assert ensemble("--cpus-per-trial", 4, "--gpus-per-trial", 0) == 0


@flags("--debug")
def test_debug_shows_the_traceback_of_a_mistake(searched: Path, capsys: Output) -> None:
    for debug in ((), ("--debug",)):
        assert ensemble("--top", 0, *debug) == 2
        err = capsys.readouterr().err
        assert "error: " in err and ("Traceback" in err) == bool(debug)


def test_a_second_time_nothing_is_trained_again(searched: Path) -> None:
    assert ensemble("--top", 2) == 0
    before = {path: path.stat().st_mtime_ns for path in searched.glob("ensemble/members/*")}
    assert len(before) == 2
    assert ensemble("--top", 2) == 0
    assert {path: path.stat().st_mtime_ns for path in searched.glob("ensemble/members/*")} == before


def test_a_search_that_is_not_finished_has_no_ensemble_yet(here: Path, capsys: Output) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tune_digits.tune.confirm.run_confirm", None)
        with pytest.raises(TypeError):
            search("--space", "small.yaml")
    before = contents(here)
    assert ensemble() == 2
    assert "--resume" in capsys.readouterr().err
    assert contents(here) == before


def test_what_is_printed_are_the_figures_of_the_report(searched: Path, capsys: Output) -> None:
    assert ensemble("--top", 2, "--pseudo", 0.5) == 0
    out = capsys.readouterr().out
    told = report(searched)
    confirmed = [member["confirmed"] for member in told["cross_validation"]["members"]]
    assert f"{min(confirmed):.4f} to {max(confirmed):.4f}" in out
    scores = re.findall(r"others \(16 images\): accuracy (\S+),", out)
    assert scores == [f"{figures['sets']['others']['score']:.4f}" for figures in told["rounds"]]
    assert "20 pseudo-labels" in out


def test_a_stopped_ensemble_says_which_command_goes_on(
    searched: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tune_digits.ensemble.build.build_ensemble", stopped)
    for program, told in (
        ("scripts/ensemble.py", "python scripts/ensemble.py --top 2\n"),
        ("/home/me/.venv/bin/tune-digits", "tune-digits --top 2\n"),
    ):
        monkeypatch.setattr("sys.argv", [program, "--top", "2"])
        assert ensemble("--top", 2) == 130
        assert capsys.readouterr().out.endswith(told)


def test_help_shows_what_the_run_says(searched: Path, capsys: Output) -> None:
    text = (searched / "study.yaml").read_text()
    (searched / "study.yaml").write_text(text.replace("top: 1,", "top: 7,"))
    with pytest.raises(SystemExit, match="0"):
        ensemble("--help")
    assert "(small: 7)" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        ensemble("--help", "--run", "nowhere")
    assert "small" not in capsys.readouterr().out


@flags("--stop-at")
def test_stop_at_sets_the_timer(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[float] = []
    monkeypatch.setattr("tune_digits.cli.ensemble.stop_in", left.append)
    assert ensemble("--stop-at", "08:00") == 0
    assert len(left) == 1 and 0 < left[0] <= 86_400
