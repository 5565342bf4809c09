"""Which commands take the lock of a run folder: those that write into it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from commands import contents, ensemble, predict, run, search, write_data

from tune_digits.run_lock import hold


def held(folder: Path) -> AbstractContextManager[None]:
    return hold(folder, "search --first", print)


@pytest.mark.parametrize(
    "command", [lambda path: search("--resume", path), lambda path: ensemble("--run", path)]
)
def test_a_command_that_writes_is_refused_and_changes_nothing(
    searched: Path, capsys: pytest.CaptureFixture[str], command
) -> None:
    with held(searched):
        before = contents(searched)
        assert command(searched) == 2
        assert contents(searched) == before
    assert "called as: search --first) writes into it" in capsys.readouterr().err
    assert command(searched) == 0


def test_a_command_that_reads_is_not_refused(searched: Path, one_ensemble: Path) -> None:
    with held(searched):
        assert search("--resume", searched, "--dry-run") == 0
    with held(one_ensemble.parent):
        assert predict("--run", one_ensemble.parent, "--data", write_data(Path("new")) / "test.csv") == 0


@pytest.mark.parametrize("phase", ["search.run_search", "confirm.run_confirm"])
def test_a_search_holds_its_folder_while_it_trains(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], phase: str
) -> None:
    def second(*args: object) -> None:
        assert ensemble("--run", "run") == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(f"tune_digits.tune.{phase}", second)
    run(code=130)
    assert "writes into it" in capsys.readouterr().err
