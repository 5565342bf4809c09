"""`search`: the run folder, the executor, and what a training gets of the machine, as the flags say."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from commands import (
    ROWS,
    Covered,
    FakeRay,
    contents,
    facts,
    records,
    refused,
    run,
    search,
    study,
    table,
    write_study,
)

flags = Covered()
Output = pytest.CaptureFixture[str]


@flags("--run-dir")
def test_the_run_folder_can_be_named_and_is_never_overwritten(here: Path, capsys: Output) -> None:
    path = run()
    assert [trial.number for trial in records(path)] == [0, 1]
    assert (here / "runs/latest").resolve() == (here / "run")
    before = contents(here)
    run(code=2)
    assert "run" in capsys.readouterr().err
    assert contents(here) == before


@flags("--strict")
def test_strict_refuses_what_is_otherwise_a_warning(here: Path, capsys: Output) -> None:
    rows = table(ROWS)
    rows.iloc[1] = rows.iloc[0]
    rows.to_csv(here / "halves/train.csv", index=False)
    assert "1 training image(s) repeat" in refused(capsys, "--strict")
    run()
    assert "! 1 training image(s) repeat" in capsys.readouterr().out


@flags("--cpus-per-trial")
def test_cpus_per_trial(here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_digits.execute.inline.available_cores", lambda: 4)
    path = run("--cpus-per-trial", 3)
    assert study(path)["resources"]["cpus_per_trial"] == 3
    assert facts(path)["slots"] == "1 at once, 3 CPU each"
    assert search("--space", "small.yaml", "--cpus-per-trial", 5) == 2
    assert "4 cores" in capsys.readouterr().err


@flags("--gpus-per-trial")
def test_gpus_per_trial(here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_digits.execute.inline.gpus_here", lambda: 0)
    assert "0.5" in refused(capsys, "--gpus-per-trial", 0.5)
    assert study(run("--gpus-per-trial", 0))["resources"]["gpus_per_trial"] == 0


@flags("--executor")
def test_the_executor_is_the_one_named(here: Path, ray: FakeRay) -> None:
    run()
    assert ray.asked == []
    write_study(here / "small.yaml", data={"path": "halves"}, resources={"executor": "ray"})
    assert search("--space", "small.yaml", "--executor", "inline") == 0
    assert ray.asked == []
    assert search("--space", "small.yaml", "--executor", "ray") == 0
    assert len(ray.asked) == 1


@flags("--max-concurrent")
def test_max_concurrent_reaches_the_executor(here: Path, ray: FakeRay) -> None:
    path = run("--max-concurrent", 1, "--executor", "ray")
    ((resources, _),) = ray.asked
    assert resources.max_concurrent == study(path)["resources"]["max_concurrent"] == 1


@flags("--address")
def test_the_address_of_a_cluster_is_joined(here: Path, capsys: Output, ray: FakeRay) -> None:
    run("--executor", "ray")
    assert search("--space", "small.yaml", "--executor", "ray", "--address", "head:6379") == 0
    assert [address for _, address in ray.asked] == [None, "head:6379"]
    capsys.readouterr()
    assert search("--space", "small.yaml", "--address", "head:6379") == 2
    message = capsys.readouterr().err
    assert "--address" in message and "inline" in message


@flags("--address")
def test_how_busy_this_machine_is_matters_only_to_trainings_on_it(
    here: Path, capsys: Output, ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_digits.machine.work_of_others", lambda: 64.0)
    run("--executor", "ray")
    assert "load 64.0" in capsys.readouterr().out
    assert search("--space", "small.yaml", "--executor", "ray", "--address", "head:6379") == 0
    assert "load 64.0" not in capsys.readouterr().out
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert search("--space", "small.yaml", "--executor", "ray") == 0
    assert "load 64.0" not in capsys.readouterr().out
    assert search("--space", "small.yaml") == 0, "which does not ask Ray"
    assert "load 64.0" in capsys.readouterr().out


@flags("--dry-run")
def test_a_dry_run_prints_the_study_and_writes_nothing(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(here)
    monkeypatch.setattr("tune_digits.tune.prepare.start_and_read", None)
    assert search("--space", "small.yaml", "--dry-run", "--trials", 7, "--set", "optimizer.lr=0.02") == 0
    out = capsys.readouterr().out
    assert "7 trials of up to 1 epochs, 3 folds" in out
    assert "lr: 0.02" in out
    assert contents(here) == before and not (here / "runs").exists()


@flags("--debug")
def test_debug_shows_the_traceback_of_a_mistake(here: Path, capsys: Output) -> None:
    assert "Traceback" not in refused(capsys, "--data", "nowhere")
    run("--data", "nowhere", "--debug", code=2)
    assert "Traceback" in capsys.readouterr().err


@flags("--stop-at")
def test_stop_at_ends_a_search_as_ctrl_c_does(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def until_the_clock_says_so(*args: object) -> None:
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left <= 86_400
        os.kill(os.getpid(), signal.SIGALRM)
        signal.pause()

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)}
    with monkeypatch.context() as patched:
        patched.setattr("tune_digits.tune.search.run_search", until_the_clock_says_so)
        run("--stop-at", "08:00", code=142)
    for number, handler in before.items():
        signal.signal(number, handler)
    assert "go on with: python scripts/search.py --resume run" in capsys.readouterr().out
    assert search("--resume", "run") == 0
