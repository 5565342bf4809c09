"""The columns of TensorBoard's HParams tab: each searched key once, with the values that trials write."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from tune_digits.config import TrialConfig
from tune_digits.space.space import make_space
from tune_digits.space.tree import flatten
from tune_digits.tune.hparams import TrialBoard, write_columns

SPACE = {
    "optimizer": {
        "one_of": [
            {"name": "sgd", "lr": {"loguniform": [0.1, 1]}},
            {"name": "adamw", "lr": {"choice": [0.001, 0.01]}, "beta2": 0.99},
            {"name": "sgd", "lr": {"loguniform": [0.01, 0.1]}, "nesterov": {"choice": [True, False]}},
        ]
    },
    "loss": {"head_weights": {"choice": [[], [0.5, 0.5]]}},
    "augment": {"rotate": {"quniform": [0, 30, 10]}},
}


def plugin_data(folder: Path) -> list:
    (file,) = folder.iterdir()
    found = []
    for event in EventFileLoader(str(file)).Load():
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == metadata.PLUGIN_NAME:
                found.append(plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content))
    return found


def columns(folder: Path, trial: dict) -> dict:
    write_columns(folder, make_space(trial, {}, [], "a.yaml"), "a")
    (data,) = plugin_data(folder)
    return {info.name: info for info in data.experiment.hparam_infos}


def test_each_searched_key_is_one_column_over_all_branches(tmp_path: Path) -> None:
    found = columns(tmp_path, SPACE)
    assert list(found) == [
        "optimizer.name",
        "optimizer.lr",
        "optimizer.nesterov",
        "loss.head_weights",
        "augment.rotate",
    ]
    lr, rotate = found["optimizer.lr"], found["augment.rotate"]
    assert lr.type == rotate.type == api_pb2.DATA_TYPE_FLOAT64
    assert (lr.domain_interval.min_value, lr.domain_interval.max_value) == (0.001, 1.0)
    assert (rotate.domain_interval.min_value, rotate.domain_interval.max_value) == (0.0, 30.0)


@pytest.mark.parametrize("index", range(6))
def test_a_column_of_texts_lists_what_trials_write(tmp_path: Path, index: int) -> None:
    space = make_space(SPACE, {}, [], "a.yaml")
    found = columns(tmp_path / "columns", SPACE)
    tree = list(space.ends())[index].model_dump(exclude_unset=True, mode="json")
    TrialConfig.model_validate(tree)
    searched = {k: v for k, v in flatten(tree, list(found)).items() if k in found}
    board = TrialBoard(tmp_path / "trial", "0", searched)
    board.close("finished")
    written = plugin_data(tmp_path / "trial")[0].session_start_info.hparams
    assert set(written) == set(searched)
    for key, value in written.items():
        if found[key].type == api_pb2.DATA_TYPE_STRING:
            assert value.string_value in [v.string_value for v in found[key].domain_discrete.values]


def test_a_range_beside_texts_lists_nothing_which_would_hide_its_trials(tmp_path: Path) -> None:
    branches = [
        {"name": "keras8", "width": {"randint": [8, 16]}},
        {"name": "lean_cnn", "width": {"choice": ["8", "16"]}},
    ]
    info = columns(tmp_path, {"model": {"one_of": branches}})["model.width"]
    assert info.type == api_pb2.DATA_TYPE_STRING
    assert not info.HasField("domain_discrete")
