"""Bad data at the command line: exit code 2, one message in plain words, and nothing written or changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import search


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["train.csv"]),
        ("", ["train.csv", "empty"]),
        ("label,pixel0\n1,5\n0,3.7\n", ["row 2", "pixel0", "3.7"]),
        ("label,pixel0\n1,5\n1,5\n", ["one class"]),
    ],
)
def test_bad_data_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str], content: str | None, words: list[str]
) -> None:
    path = here / "train.csv"
    if content is not None:
        path.write_text(content)
    assert search("--space", "small.yaml", "--data", path) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (message,) = err.splitlines()
    assert message.startswith("error: ")
    for word in words:
        assert word in message
    # what could be read as a table may stay in the cache
    assert {p.name for p in Path("runs").glob("*")} <= {".cache"}
    assert not path.exists() if content is None else path.read_text() == content


def test_the_name_of_a_set_is_no_path(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search("--space", "small.yaml", "--data", "torchvision:EMNIST/letters", "--dry-run") == 0
    assert "path: 'torchvision:EMNIST/letters'" in capsys.readouterr().out
    assert search("--space", "small.yaml", "--data", "digits", "--dry-run") == 0
    assert f"path: {here / 'digits'}" in capsys.readouterr().out
