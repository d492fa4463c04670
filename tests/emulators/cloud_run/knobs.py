"""Knobs: the limits and the faults of the stand-in; the quotas' defaults are Google's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Knobs:
    """What can be set at start and, through ``POST /standin/knobs``, at run time.

    Quotas: https://cloud.google.com/run/quotas. startup_seconds: before a task's container starts.
    parallel_tasks: running at once in the region, of all executions. kill_probability: of a
    container to be lost, after kill_after_seconds; refuse_runs: the next run calls answered 429;
    lose_answers: the next run calls that are accepted and answered 503; fail_runs: the next run
    calls answered 503 and not accepted; run_tasks_twice: each container is started twice.
    """

    tasks_per_execution: int = 10_000
    running_executions: int = 1_000
    run_calls_per_minute: int = 60
    parallel_tasks: int = 1_000
    startup_seconds: float = 0.0
    kill_probability: float = 0.0
    kill_after_seconds: float = 1.0
    refuse_runs: int = 0
    lose_answers: int = 0
    fail_runs: int = 0
    run_tasks_twice: bool = False
    seed: int = 1
