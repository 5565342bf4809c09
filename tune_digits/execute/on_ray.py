"""Trainings side by side on Ray: trials under Ray Tune, independent jobs as tasks, data once in its object store."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from tune_digits.config import Resources, TrialConfig
from tune_digits.errors import ConfigError
from tune_digits.execute.executor import Job, Result, Shared, Stored, TrialRun, Value
from tune_digits.execute.ray_folder import ray_folder
from tune_digits.execute.slots import Slots, plan_slots
from tune_digits.machine import available_cores
from tune_digits.patches.ray_safe import ask_for_token, new_token, on_loopback
from tune_digits.patches.ray_startup import (
    keep_sigterm_handler,
    raylet_settings,
    take_waiting_workers,
    without_servers,
)

# read by Ray when it is imported
QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a CPU trial must not unset the GPUs of its driver
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` every worker would run uv again
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our own records take their place
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the command, and does not move on to its next phase
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",  # the run folder is the state; Ray's own snapshots are not read
    "TUNE_RESULT_BUFFER_LENGTH": "0",
}


@dataclass(frozen=True, slots=True)
class InStore(Generic[Value]):
    """As `Stored`, in Ray's object store. ref: a ray.ObjectRef, which keeps the value there."""

    ref: Any

    def get(self) -> Value:
        """The value; its arrays are read-only views of the store, not copies."""
        import ray

        value: Value = ray.get(self.ref)
        return value


@dataclass(frozen=True, slots=True)
class RayExecutor:
    """Ray must have been started (`start_ray`) where it is used."""

    slots: Slots

    def store(self, value: Value) -> Stored[Value]:
        import ray

        return InStore(ray.put(value))

    def run_jobs(
        self, function: Callable[[Job, Shared], Result], jobs: Sequence[Job], shared: Shared
    ) -> Iterator[tuple[Job, Result | Exception]]:
        """As `Executor.run_jobs`, `slots.at_once` at a time.

        A worker that dies is replaced and its job run again, three times at most.
        """
        import ray

        slots = self.slots
        # workers are kept between tasks, so that torch is imported once in each
        task = ray.remote(num_cpus=slots.cpus, num_gpus=slots.gpus, max_calls=0, max_retries=3)(function)
        stored = ray.put(shared)
        waiting = list(reversed(jobs))
        running: dict[Any, Job] = {}
        while waiting or running:
            while waiting and len(running) < slots.at_once:
                job = waiting.pop()
                running[task.remote(job, stored)] = job
            (ready,), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(ready)
            try:
                yield job, ray.get(ready)
            except ray.exceptions.RayError as error:  # of a job that raised, it is of the job's own kind too
                yield job, error

    def run_trials(self, run: TrialRun) -> None:
        from ray import tune

        from tune_digits.execute.ray_adapters import Decisions, Events, Proposals

        trainable = tune.with_parameters(_train, train=run.train, shared=run.shared)
        slots = self.slots
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=Proposals(run.trials),
                scheduler=Decisions(run.scheduler),
                num_samples=run.count,
                # no more proposals than can run: each is made with all that is known by then
                max_concurrent_trials=min(slots.at_once, run.count),
                time_budget_s=run.seconds,
                reuse_actors=True,
                trial_name_creator=lambda trial: f"trial-{trial.config['number']:04d}",
                trial_dirname_creator=lambda trial: f"{trial.config['number']:04d}-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                name="ray",
                storage_path=str(run.folder.resolve()),
                callbacks=[Events(run.trials)],
                failure_config=tune.FailureConfig(max_failures=1),
                verbose=0,
            ),
        )
        take_waiting_workers()
        tuner.fit()


def _train(
    config: dict[str, Any],
    train: Callable[[int, TrialConfig, Any], Iterator[Mapping[str, Any]]],
    shared: Any,
) -> None:
    """Ray Tune's trainable. A trial that the scheduler stops is ended from outside."""
    from ray import tune

    for report in train(config["number"], config["config"], shared):
        tune.report(dict(report))


def start_ray(
    resources: Resources, address: str | None = None, meanwhile: Callable[[], None] = lambda: None
) -> RayExecutor:
    """Start Ray here, or join the cluster at `address`, quietly.

    meanwhile: called when Ray is imported and before it starts, to set other work going beside it. Raises ConfigError
    where the wanted resources are not there.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    warnings.filterwarnings("ignore", module=r"ray\..*")
    warnings.filterwarnings("ignore", message=r".*(experimental|constant_liar|multivariate).*")
    import ray

    meanwhile()
    address = address or os.environ.get("RAY_ADDRESS")
    if not ray.is_initialized():
        ask_for_token()
        options: dict[str, Any] = {
            "logging_level": logging.ERROR,
            "log_to_driver": False,
            "configure_logging": True,
        }
        if address:
            try:
                with keep_sigterm_handler():
                    ray.init(address=address, **options)
            except ray.exceptions.AuthenticationError as error:
                raise ConfigError(
                    f"--address {address}: the cluster and this command do not agree on a token, without which anybody "
                    f"who reaches the cluster could run code there ({str(error).splitlines()[0]}). Put the cluster's "
                    "token into RAY_AUTH_TOKEN or ~/.ray/auth_token (ray get-auth-token); for a cluster without "
                    "tokens, on a network of your own, set RAY_AUTH_MODE=disabled"
                ) from None
        else:
            cores = available_cores()
            new_token()
            with keep_sigterm_handler(), without_servers(), on_loopback() as alone:
                ray.init(
                    num_cpus=cores,
                    include_dashboard=False,
                    _system_config=raylet_settings(cores),
                    _temp_dir=str(ray_folder()),
                    **alone,
                    **options,
                )
    # what fails stands in the trials' records and in the live view
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    total = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
    return RayExecutor(plan_slots(resources, total.get("CPU", 0.0), total.get("GPU", 0.0)))
