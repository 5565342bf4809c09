"""What TensorBoard reads of a search: every trial with its hyper-parameters, states, scalars and columns."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from run_samples import INLINE, halves_task, searched_run, small_study
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from tune_digits.execute.executor import TrialRun
from tune_digits.execute.inline import InlineExecutor
from tune_digits.runs import Run, State, TrialRecord
from tune_digits.tune.hparams import METRICS, STATUS

TRIAL = {
    "optimizer": {
        "one_of": [
            {"name": "sgd", "lr": {"loguniform": [0.01, 0.1]}},
            {"name": "adamw", "lr": {"loguniform": [0.001, 0.01]}, "beta1": {"choice": [0.8, 0.9]}},
        ]
    },
    "augment": {"rotate": {"uniform": [0, 20]}},
}


class FailingOnce(InlineExecutor):
    """Trial 2 fails at its second epoch, at each attempt."""

    def run_trials(self, run: TrialRun) -> None:
        def train(number: int, config: Any, shared: Any) -> Any:
            for report in run.train(number, config, shared):
                if number == 2 and report["epoch"] == 2:
                    raise RuntimeError("no memory")
                yield report

        values = {name: getattr(run, name) for name in TrialRun.__dataclass_fields__}
        super().run_trials(TrialRun(**{**values, "train": train}))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[TrialRecord], EventMultiplexer]:
    search = {"trials": 8, "startup_trials": 8, "grace_period": 1, "reduction_factor": 2}
    study = small_study(TRIAL, search=search)
    run, records = searched_run(
        tmp_path_factory.mktemp("board"), study, halves_task(240), FailingOnce(INLINE.slots)
    )
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(run.path))
    multiplexer.Reload()
    return run, records, multiplexer


def content(multiplexer: EventMultiplexer, run: str, tag: str) -> plugin_data_pb2.HParamsPluginData:
    return plugin_data_pb2.HParamsPluginData.FromString(
        multiplexer.SummaryMetadata(run, tag).plugin_data.content
    )


def name(record: TrialRecord) -> str:
    return f"tensorboard/{record.number:04d}"


def test_every_trial_shows_its_searched_values_under_the_studys_names(shown) -> None:
    _, records, board = shown
    for record in records:
        start = content(board, name(record), metadata.SESSION_START_INFO_TAG).session_start_info
        assert start.group_name == f"{record.number:04d}"
        values = {
            key: value.number_value if value.HasField("number_value") else value.string_value
            for key, value in start.hparams.items()
        }
        assert values == record.searched
        assert values["optimizer.name"] == record.config.optimizer.name
        assert values["optimizer.lr"] == record.config.optimizer.lr


def test_every_trial_shows_how_it_ended(shown) -> None:
    _, records, board = shown
    assert {"finished", "pruned", "failed"} == {r.state for r in records}
    for record in records:
        end = content(board, name(record), metadata.SESSION_END_INFO_TAG).session_end_info
        assert (end.status == api_pb2.STATUS_FAILURE) == (record.state == "failed")
        assert end.status in (api_pb2.STATUS_FAILURE, api_pb2.STATUS_SUCCESS)
    assert set(STATUS) == set(get_args(State))


def test_scalars_are_the_recorded_epochs(shown) -> None:
    run, records, board = shown
    for record in records:
        epochs = run.epochs(record.number)
        for tag in ("train_loss", "valid_loss", "score", "lr"):
            shown_values = {e.step: e.value for e in board.Scalars(name(record), f"epoch/{tag}")}
            assert shown_values == pytest.approx({e["epoch"]: e[tag] for e in epochs}, rel=1e-6)
        last = {tag: board.Scalars(name(record), tag)[-1].value for tag in METRICS}
        assert last["score/final"] == pytest.approx(record.score)
        assert last["score/best"] == pytest.approx(record.best_score)
        assert last["epochs"] == record.epochs


def test_columns_are_the_searched_keys_with_their_domains_and_the_metrics(shown) -> None:
    _, records, board = shown
    experiment = content(board, "tensorboard", metadata.EXPERIMENT_TAG).experiment
    columns = {info.name: info for info in experiment.hparam_infos}
    assert set(columns) == {"optimizer.name", "optimizer.lr", "optimizer.beta1", "augment.rotate"}
    assert {v.string_value for v in columns["optimizer.name"].domain_discrete.values} == {"sgd", "adamw"}
    lr = columns["optimizer.lr"].domain_interval
    assert (lr.min_value, lr.max_value) == (0.001, 0.1)  # of both branches
    assert columns["augment.rotate"].domain_interval.max_value == 20
    assert {info.name.tag for info in experiment.metric_infos} == set(METRICS)
    assert set().union(*(r.searched for r in records)) <= set(columns)
