"""TensorBoard event files: scalars per epoch, and an HParams tab in which every trial shows from its start on.

TensorBoard's own `hparams` module needs TensorFlow, so its messages are put together here (the format is that of
`tensorboard/plugins/hparams/plugin_data.proto`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from tune_digits.runs import State
from tune_digits.space.domains import Domain, Range
from tune_digits.space.space import Space
from tune_digits.space.tree import OneOf

METRICS = {"score/best": "best score", "score/final": "final score", "epochs": "epochs"}
STATUS: dict[State, int] = {
    "running": api_pb2.STATUS_RUNNING,
    "finished": api_pb2.STATUS_SUCCESS,
    "ended": api_pb2.STATUS_SUCCESS,
    "pruned": api_pb2.STATUS_SUCCESS,  # the number of epochs tells it from a finished one
    "failed": api_pb2.STATUS_FAILURE,
}


def _write(writer: EventFileWriter, value: Summary.Value, step: int = 0) -> None:
    writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))


def _plugin_value(tag: str, **content: Any) -> Summary.Value:
    data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
    return Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=metadata.NULL_TENSOR)


def write_columns(folder: Path, space: Space, name: str) -> None:
    """The columns of the HParams tab: the searched keys as the study file spells them, and the metrics."""
    infos = [_column(key, nodes) for key, nodes in space.searched().items()]
    metrics = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title)
        for tag, title in METRICS.items()
    ]
    experiment = api_pb2.Experiment(
        name=name, time_created_secs=time.time(), hparam_infos=infos, metric_infos=metrics
    )
    writer = EventFileWriter(str(folder))
    _write(writer, _plugin_value(metadata.EXPERIMENT_TAG, experiment=experiment))
    writer.close()


def _column(key: str, nodes: Sequence[Domain | OneOf]) -> api_pb2.HParamInfo:
    """One searched key; nodes: what it may be in each branch that has it."""
    info = api_pb2.HParamInfo(name=key)
    values = [value for node in nodes for value in _values(node)]
    if all(map(_is_number, values)):
        info.type = api_pb2.DATA_TYPE_FLOAT64
        info.domain_interval.min_value, info.domain_interval.max_value = min(values), max(values)
    else:
        info.type = api_pb2.DATA_TYPE_STRING
        # TensorBoard hides a trial whose value is none of these, so a range beside texts lists nothing
        if not any(isinstance(node, Range) for node in nodes):
            info.domain_discrete.extend(dict.fromkeys(map(str, values)))
    return info


def _values(node: Domain | OneOf) -> Sequence[Any]:
    """The ends of a range, or all values that a trial's configuration may have."""
    if isinstance(node, OneOf):
        return [branch.get("name", label) for label, branch in zip(node.labels, node.branches, strict=True)]
    return node.ends()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class TrialBoard:
    """The event file of one trial. It can be opened again: TensorBoard reads all files of a folder."""

    def __init__(self, folder: Path, trial: str, hparams: Mapping[str, Any]) -> None:
        self._writer = EventFileWriter(str(folder))
        start = plugin_data_pb2.SessionStartInfo(group_name=trial, start_time_secs=time.time())
        for key, value in hparams.items():
            if _is_number(value):
                start.hparams[key].number_value = value
            else:
                start.hparams[key].string_value = str(value)
        _write(self._writer, _plugin_value(metadata.SESSION_START_INFO_TAG, session_start_info=start))
        self._writer.flush()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for tag, value in values.items():
            _write(self._writer, Summary.Value(tag=tag, simple_value=value), step)
        self._writer.flush()

    def close(self, state: State) -> None:
        end = plugin_data_pb2.SessionEndInfo(status=STATUS[state], end_time_secs=time.time())
        _write(self._writer, _plugin_value(metadata.SESSION_END_INFO_TAG, session_end_info=end))
        self._writer.close()
