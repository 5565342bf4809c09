"""A working folder with small data and a study, for the commands in this process, without Ray."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import FakeRay, ensemble, search, write_data, write_study


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: the data folder `halves`, and `small.yaml`, whose trainings run in this process."""
    write_data(tmp_path / "halves")
    write_study(tmp_path / "small.yaml", data={"path": "halves"})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the page at the end of a search or an ensemble takes seconds: only the tests of it do."""
    if request.path.name != "test_report.py":
        for command in ("search", "ensemble"):
            monkeypatch.setattr(f"tune_digits.cli.{command}.write_report", lambda *given, **named: None)


@pytest.fixture(scope="session")
def one_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a search of four trials, all confirmed, in `run`, and its data. It is only read."""
    folder = tmp_path_factory.mktemp("searched")
    write_data(folder / "halves")
    write_study(folder / "small.yaml", data={"path": str(folder / "halves")})
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert search("--space", "small.yaml", "--run-dir", "run", "--trials", 4, "--candidates", 4) == 0
    return folder


@pytest.fixture
def searched(one_search: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a copy of the run of `one_search`, which is the latest there."""
    (tmp_path / "runs").mkdir()
    run = tmp_path / "runs/run"
    shutil.copytree(one_search / "run", run)
    (tmp_path / "runs/latest").symlink_to("run")
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture(scope="session")
def one_ensemble(one_search: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an ensemble of two members that judge three views of each image. It is only read."""
    folder = tmp_path_factory.mktemp("ensembled")
    shutil.copytree(one_search / "run", folder / "run")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert ensemble("--run", "run", "--top", 2, "--tta", 3, "--epochs", 4) == 0
    return folder / "run/ensemble"


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr("tune_digits.execute.on_ray.start_ray", fake)
    return fake
