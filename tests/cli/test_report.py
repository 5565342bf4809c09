"""`tune-digits report`, and the page that search and ensemble leave at their end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import Covered, ensemble, run, write_data

from tune_digits import disk
from tune_digits.cli import report as report_command
from tune_digits.runs import Run

Output = pytest.CaptureFixture[str]
flags = Covered()


def report(*words: object) -> int:
    return report_command.main([str(word) for word in words])


def test_a_search_leaves_its_page(here: Path, capsys: Output) -> None:
    folder = run()
    text = (folder / "report.html").read_text()
    assert f"report: {folder / 'report.html'}" in capsys.readouterr().out
    assert 'id="leaderboard"' in text and 'id="classes"' in text
    assert 'id="augmentation"' not in text  # it would take torch into the driver


def test_a_page_that_cannot_be_drawn_fails_neither_search_nor_ensemble(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise ZeroDivisionError("a made-up error")

    monkeypatch.setattr("tune_digits.report.page.render", broken)
    folder = run()
    said = " ".join(capsys.readouterr().out.split())
    assert "! report.html could not be written (ZeroDivisionError: a made-up error)" in said
    assert f"report.py --run {folder} --debug" in said or f"report --run {folder} --debug" in said
    assert "next: " in said and not (folder / "report.html").exists()
    assert ensemble("--run", folder) == 0
    assert "report.html could not be written" in capsys.readouterr().out
    with pytest.raises(ZeroDivisionError):
        report("--run", folder)


@flags("--run")
def test_the_page_is_in_the_run_folder(searched: Path, capsys: Output) -> None:
    (searched / "report.html").unlink(missing_ok=True)
    assert report("--run", searched) == 0
    assert f"report: {searched / 'report.html'}" in " ".join(capsys.readouterr().out.split()).replace(
        "\n", ""
    )
    text = (searched / "report.html").read_text()
    assert "<img" in text and 'id="augmentation"' in text
    (searched / "report.html").unlink()
    assert report() == 0  # the latest run
    assert (searched / "report.html").exists()


def test_an_ensemble_is_in_the_page(searched: Path) -> None:
    assert ensemble("--run", searched) == 0
    text = (searched / "report.html").read_text()
    assert 'id="ensemble"' in text and 'id="augmentation"' in text


@flags("-o", "--out")
@pytest.mark.parametrize("flag", ["-o", "--out"])
def test_the_page_is_written_where_it_is_wanted(searched: Path, tmp_path: Path, flag: str) -> None:
    before = (searched / "report.html").read_bytes()
    assert report(flag, tmp_path / "page.html", "--no-data") == 0
    assert (tmp_path / "page.html").exists()
    assert (searched / "report.html").read_bytes() == before


@flags("--no-data")
def test_without_data_the_page_says_so(searched: Path, capsys: Output) -> None:
    assert report("--no-data") == 0
    text = (searched / "report.html").read_text()
    assert "<img" not in text and "(--no-data)" in text
    assert "--no-data" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["gone", "other"])
def test_data_that_are_gone_or_changed_are_said_and_left_out(here: Path, capsys: Output, change: str) -> None:
    folder = run()
    shutil.rmtree(here / "halves")
    if change == "other":
        write_data(here / "halves", rows=40)
    capsys.readouterr()
    assert report("--run", folder) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Without pictures, because the data could not be read" in out
    assert ("not those that it was begun with" in out) == (change == "other")
    text = (folder / "report.html").read_text()
    assert "<img" not in text and "Without pictures" in text and 'id="leaderboard"' in text


@flags("--final")
def test_the_untouched_rows_are_read_once_and_their_score_is_in_the_page(here: Path, capsys: Output) -> None:
    folder = run("--set", "cv.untouched=0.2")
    assert ensemble("--run", folder) == 0
    assert "untouched rows" not in (folder / "report.html").read_text()
    for _ in range(2):
        assert report("--run", folder, "--final") == 0
    looks = Run(folder).ensemble / "final.json"
    [look] = disk.read_json(looks)["looks"]
    assert f"score {look['score']:.4f}" in capsys.readouterr().out
    text = (folder / "report.html").read_text()
    assert "of the ensemble on the untouched rows" in text and f"<b>{look['score']:.4f}</b>" in text


@flags("--final")
def test_without_untouched_rows_there_is_no_last_judgement(searched: Path, capsys: Output) -> None:
    assert ensemble("--run", searched) == 0
    capsys.readouterr()
    assert report("--final") == 2
    assert "no rows were set aside" in capsys.readouterr().err


@flags("--open")
def test_the_page_is_opened(searched: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or len(opened) == 1)
    assert report("--no-data") == 0 and opened == []
    assert report("--no-data", "--open") == 0
    assert opened == [(searched / "report.html").resolve().as_uri()]
    assert "no browser" not in capsys.readouterr().out
    assert report("--no-data", "--open") == 0
    assert "no browser was found" in capsys.readouterr().out


def test_no_run_is_the_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.chdir(tmp_path)
    assert report() == 2
    assert "no run folder" in capsys.readouterr().err


def test_commands_in_the_page_are_called_as_this_one(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["scripts/report.py"])
    assert report("--no-data") == 0
    assert "python scripts/ensemble.py --run" in (searched / "report.html").read_text()


def test_every_flag_has_a_test() -> None:
    known = {flag for action in report_command.make_parser()._actions for flag in action.option_strings}
    assert known - {"-h", "--help", "--debug"} == flags.names
