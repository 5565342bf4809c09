"""What is damaged in a run folder is named when the search goes on, and nothing of it is trained over in silence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from run_samples import halves_task, searched_run, small_study

from tune_digits import disk
from tune_digits.errors import RunError
from tune_digits.runs import Run

TASK = halves_task(60)
STUDY = small_study(
    search={"trials": 2, "startup_trials": 2}, trial={"train": {"epochs": 1, "batch_size": 20}}
)
MORE = small_study(
    search={"trials": 3, "startup_trials": 2}, trial={"train": {"epochs": 1, "batch_size": 20}}
)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return searched_run(tmp_path_factory.mktemp("one"), STUDY, TASK)[0].path


@pytest.fixture
def run(one: Path, tmp_path: Path) -> Run:
    shutil.copytree(one, tmp_path / "run")
    (tmp_path / "latest").symlink_to("run")
    return Run(tmp_path / "run")


def go_on(run: Run) -> int:
    return len(searched_run(run.path.parent, MORE, TASK, resume=True)[1])


def refused(run: Run) -> str:
    with pytest.raises(RunError) as caught:
        go_on(run)
    assert len(list((run.path / "trials").iterdir())) == 2
    return str(caught.value)


def test_what_is_whole_goes_on(run: Run) -> None:
    assert go_on(run) == 3


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("trials/0001/trial.json", '"epochs": 1', '"epochs": 2'),
        ("trials/0001/epochs.jsonl", '"epoch": 1', '"epoch": 2'),
        ("run.json", '"format": 3', '"format": 3 '),
    ],
)
def test_a_changed_record_is_named(run: Run, file: str, old: str, new: str) -> None:
    path = run.path / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    if file == "run.json":  # a space is no damage
        assert go_on(run) == 3
    else:
        assert refused(run).startswith(str(path))


def test_a_damaged_line_in_the_middle_of_the_journal_is_named(run: Run) -> None:
    lines = run.journal.read_bytes().split(b"\n")
    lines[4] = lines[4].replace(b"{", b"[", 1)
    run.journal.write_bytes(b"\n".join(lines))
    assert f"{run.journal}: line 5 is damaged" in refused(run)


def test_a_damaged_last_line_of_the_journal_is_named(run: Run) -> None:
    """Optuna leaves it out, and the trial would end twice."""
    run.journal.write_bytes(run.journal.read_bytes()[:-2] + b"\n")
    assert f"{run.journal}: line " in refused(run)


def test_a_last_line_of_the_journal_that_was_cut_short_is_taken_away(run: Run) -> None:
    whole = run.journal.read_bytes()
    run.journal.write_bytes(whole + b'{"op_code":4,"wor')
    assert go_on(run) == 3
    assert run.journal.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in run.journal.read_text().splitlines())


def test_a_journal_with_another_configuration_is_named(run: Run) -> None:
    record = run.trials()[1]
    text = run.journal.read_text()
    lr = str(record.searched["optimizer.lr"])
    assert lr in text
    run.journal.write_text(text.replace(lr, f"{lr[:-1]}{(int(lr[-1]) + 1) % 10}"))
    assert "trial 1 does not have the configuration in it" in refused(run)


def test_a_journal_with_another_score_is_named(run: Run) -> None:
    record = run.trials()[1]
    record.score = 0.123
    run.write_trial(record)
    assert "trial 1 has the score" in refused(run)


def test_a_journal_that_is_gone_is_named(run: Run) -> None:
    run.journal.unlink()
    assert "trial 0 of " in refused(run)


def test_a_record_that_is_gone_is_named(run: Run) -> None:
    (run.trial_folder(1) / "trial.json").unlink()
    assert "trial 1 has ended, and" in refused(run)


def test_a_damaged_state_is_named_and_is_no_failed_trial(run: Run) -> None:
    record = run.trials()[1]
    record.state = "running"
    run.write_trial(record)
    run.trial_state(1).write_bytes(b"nothing")
    assert refused(run).startswith(f"{run.trial_state(1)}: damaged")
    assert [r.state for r in run.trials()] == ["finished", "running"]
    run.trial_state(1).unlink()
    assert go_on(run) == 3


def test_an_epoch_that_was_cut_short_is_written_again(run: Run) -> None:
    path = run.trial_folder(1) / "epochs.jsonl"
    path.write_text(path.read_text() + '{"epoch": 2, "sco')
    assert [e["epoch"] for e in run.epochs(1)] == [1]
    run.append_epoch(1, {"epoch": 2})
    assert [e["epoch"] for e in run.epochs(1)] == [1, 2]
    assert all(disk.unsealed(line) for line in path.read_text().splitlines())
