"""Knobs: the limits and the faults of the stand-in; the quotas' defaults are Google's."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from tests.emulators.cloud_run.api_error import ApiError


@dataclass
class Knobs:
    """What can be set at start and, through ``POST /standin/knobs``, at run time.

    Quotas, of each project and region: https://cloud.google.com/run/quotas (run calls: 60 to 180
    a minute, by region; here the least). parallel_tasks: running at once, of all executions.
    vcpu_quota, memory_gib_quota: what those tasks have together; as new projects were seen to have
    it ("CpuAllocPerProjectRegion … allowed: 20000", "MemAllocPerProjectRegion … allowed:
    42949672960"). What Google does of an execution that has no room is not documented. Without
    quota_refuses tasks beyond it wait; with "none fits" an execution of which no task could start
    is refused, and with "not all fit" one of which not all tasks that are to run at once could.

    list_order: of executions, "newest" first, as the API's reference says, or "any".

    startup_seconds, startup_jitter: what an instance takes before its container starts, and by
    which fraction that varies. reconcile_seconds: until a job that was made or changed is ready.

    kill_probability: of an attempt to lose its container, after kill_after_seconds. refuse_runs:
    the next run calls answered 429; lose_answers: the next run calls that are accepted and
    answered 503; fail_runs: the next run calls answered 503 and not accepted; fail_calls,
    refuse_calls: the next calls of any method answered 503 or 429. run_tasks_twice: each attempt
    is delivered to two containers. move_after_seconds: when each attempt's containers are moved to
    another machine (0: never): SIGTSTP, move_notice_seconds later nothing of them runs for
    move_pause_seconds, then SIGCONT (https://cloud.google.com/run/docs/configuring/task-timeout).
    denied_permissions: such as ``run.jobs.run``.
    clock_skew_seconds: how far its clock is ahead; it counts at start only.
    """

    tasks_per_execution: int = 10_000
    running_executions: int = 1_000
    jobs: int = 1_000
    run_calls_per_minute: int = 60
    read_calls_per_minute: int = 3_000
    write_calls_per_minute: int = 180
    parallel_tasks: int = 1_000
    vcpu_quota: float = 20.0
    memory_gib_quota: float = 40.0
    quota_refuses: str = ""
    list_order: str = "newest"
    startup_seconds: float = 0.0
    startup_jitter: float = 0.0
    reconcile_seconds: float = 0.0
    kill_probability: float = 0.0
    kill_after_seconds: float = 1.0
    refuse_runs: int = 0
    lose_answers: int = 0
    fail_runs: int = 0
    fail_calls: int = 0
    refuse_calls: int = 0
    run_tasks_twice: bool = False
    move_after_seconds: float = 0.0
    move_notice_seconds: float = 10.0
    move_pause_seconds: float = 5.0
    denied_permissions: list[str] = field(default_factory=list)
    clock_skew_seconds: float = 0.0
    seed: int = 1

    def change(self, values: dict[str, Any]) -> None:
        """Set some of them; ApiError, and no change, for an unknown name or a wrong type."""
        types = {each.name: type(getattr(self, each.name)) for each in dataclasses.fields(self)}
        for name, value in values.items():
            kind = types.get(name)
            if kind is None:
                raise ApiError("INVALID_ARGUMENT", f"no knob {name}: there are {sorted(types)}")
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise ApiError("INVALID_ARGUMENT", f"knob {name}: {value!r} is no {kind.__name__}")
            if name == "quota_refuses" and value not in ("", "none fits", "not all fit"):
                raise ApiError("INVALID_ARGUMENT", f"knob {name} has no {value!r}")
        for name, value in values.items():
            setattr(self, name, value)

    def use_up(self, name: str) -> bool:
        """Whether a counted fault was still to be delivered; it is now."""
        left = getattr(self, name)
        setattr(self, name, max(0, left - 1))
        return bool(left > 0)
