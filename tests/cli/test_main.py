"""`tune-digits COMMAND`: each command gets its own flags; how it was called is how others are named."""

from __future__ import annotations

import importlib

import pytest

from tune_digits.cli.common import called, command
from tune_digits.cli.main import COMMANDS, main

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_gets_all_that_follows_its_name(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    got = []
    module = importlib.import_module(f"tune_digits.cli.{name.replace('-', '_')}")
    with monkeypatch.context() as patched:
        patched.setattr(module, "main", lambda flags: got.append(flags) or 7)
        words = ["--set", "a=1", "focal", "--run-dir=x", "--no-pseudo", "-h"]
        assert main([name, *words]) == 7
    assert got == [words]
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert "--debug" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["serch"], ["--trials", "3"]])
def test_no_command_is_refused_and_the_commands_are_listed(words: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    err = capsys.readouterr().err
    assert "COMMAND" in err and (words != ["serch"] or all(name in err for name in COMMANDS))


def test_help_says_what_each_command_does(capsys: Output) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(name in out and what in out for name, what in COMMANDS.items())


def test_commands_are_named_as_this_one_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["scripts/search.py", "--set", "name=a b"])
    assert command("ensemble") == "python scripts/ensemble.py"
    assert command("find-lr") == "python scripts/find_lr.py"
    assert called() == "python scripts/search.py --set 'name=a b'"
    monkeypatch.setattr("sys.argv", ["/home/me/.venv/bin/tune-digits", "search", "--strict"])
    assert command("ensemble") == "tune-digits ensemble"
    assert called() == "tune-digits search --strict"


@pytest.mark.parametrize(
    ("program", "told"),
    [("scripts/ensemble.py", "python scripts/search.py"), ("tune-digits", "tune-digits search")],
)
def test_messages_name_commands_as_this_one_was_called(
    program: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr("sys.argv", [program])
    assert importlib.import_module("tune_digits.cli.ensemble").main(["--run", "nowhere"]) == 2
    assert f"start one with: {told} --space aug.yaml\n" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_says_what_it_is(name: str) -> None:
    parser = importlib.import_module(f"tune_digits.cli.{name.replace('-', '_')}").make_parser()
    assert all(action.help for action in parser._actions)
