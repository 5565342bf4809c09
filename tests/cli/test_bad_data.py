"""Bad data at the command line: exit code 2, one message in plain words, and nothing written or changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tune_digits.cli.search import main, make_parser, overrides_of
from tune_digits.config import Resources
from tune_digits.execute.inline import InlineExecutor, start_inline


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray starts beside the reading of the data, and is no part of this."""

    def start_ray(resources: Resources, address: str | None, meanwhile: Callable[[], None]) -> InlineExecutor:
        meanwhile()
        return start_inline(resources)

    monkeypatch.setattr("tune_digits.execute.on_ray.start_ray", start_ray)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["There is no file or folder", "train.csv"]),
        ("", ["train.csv is empty"]),
        ("label,pixel0\n1,5\n0,3.7\n", ["row 2", "column pixel0", "'3.7'"]),
        ("label,pixel0\n1,5\n1,5\n", ["one class only"]),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, words: list[str], debug: bool
) -> None:
    path = tmp_path / "train.csv"
    if content is not None:
        path.write_text(content)
    assert main(["--data", str(path), *(["--debug"] if debug else [])]) == 2
    out, err = capsys.readouterr()
    assert ("Traceback" in err) == debug
    message = err.splitlines()[-1]
    assert message.startswith("error: ") and all(word in message for word in words)
    # what could be read as a table may stay in the cache
    assert out == "" and {p.name for p in Path("runs").glob("*")} <= {".cache"}
    assert not path.exists() if content is None else path.read_text() == content


def test_the_name_of_a_set_is_no_path() -> None:
    def path(text: str) -> str:
        return overrides_of(make_parser().parse_args(["--data", text]))["data.path"]

    assert path("torchvision:EMNIST/letters") == "torchvision:EMNIST/letters"
    assert path("digits") == str(Path.cwd() / "digits")
