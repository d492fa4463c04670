"""One chaos run: run the job, inject what the plan says, and audit what is left."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client import Job
from povstorm_client.storage import layout
from tests.chaos.animation import make_job, reference
from tests.chaos.audit import Audit, audit
from tests.chaos.client_program import ClientProgram
from tests.chaos.injector import Injector
from tests.chaos.plan import FRAMES, ChaosPlan
from tests.chaos.prefect_server import PrefectServer
from tests.chaos.processes import processes_of, servers_of
from tests.chaos.watcher import Watcher
from tests.chaos.world import World, chaos_world
from tests.e2e.google_cloud import RENDERER

RUN_SECONDS = 300.0
# On a busy machine, and of large images.
_BUSY_SLOWER, _LARGE_SLOWER = 4, 2
# For Prefect to be told of all runs, one after the other where they start servers.
_RECORDED_SECONDS = 900.0
_RETRIES = 6
# A job whose flow was told to give up is run again, as a user would; so often at most.
_MOST_STARTS = 6


@dataclass
class Report:
    """What a run met, and what the audit says.

    faults: injected, by kind. missed: what the plan has and the run did not meet.
    """

    plan: ChaosPlan
    faults: Counter[str] = field(default_factory=Counter)
    renderings: int = 0
    allowed: int = 0
    retries: int = 0
    starts: int = 0
    seconds: float = 0.0
    missed: list[str] = field(default_factory=list)
    audit: Audit | None = None

    def __str__(self) -> str:
        """Three lines for people."""
        injected = sorted(+self.faults)
        faults = ", ".join(f"{self.faults[kind]} x {kind}" for kind in injected)
        counts = (
            f"faults {self.faults.total()} ({faults}); job run {self.starts} times, retries "
            f"{self.retries}, renderings {self.renderings} of {FRAMES} frames "
            f"({self.allowed} are explained); "
        )
        if self.missed:
            counts += f"not met: {', '.join(self.missed)}; "
        if self.audit is not None:
            counts += f"frames lost {self.audit.lost}, corrupt accepted {self.audit.corrupt}"
            counts += "".join(f"\n  VIOLATION {each}" for each in self.audit.violations)
        return f"{self.plan}\n  {self.seconds:.0f} s; {counts}"


def run(plan: ChaosPlan, folder: Path, prefect: PrefectServer) -> Report:
    """Render the animation while the plan goes wrong. folder: an empty one, for all files."""
    right = reference(FRAMES, plan.size)
    report = Report(plan)
    started = time.monotonic()
    with chaos_world(plan, folder, prefect) as world:
        name = f"chaos{secrets.token_hex(4)}"
        job = make_job(
            world.cluster, name, FRAMES, folder, plan.size, retries=_RETRIES, codec=plan.codec
        )
        job.submit()
        with Watcher(name, job.job_id, world.direct) as watcher:
            injector = Injector(plan, world, job.job_id, watcher)
            report.starts = _run_to_the_end(plan, world, job, injector, folder / "client.txt")
        _until(lambda: not _running_executions(world, job), 30)
        # A process ends a moment after it was killed, and its children a moment after that; who
        # tells Prefect of the job goes on until that knows all, or does not answer for minutes.
        _until(lambda: not processes_of(job.job_id), _RECORDED_SECONDS * _slower(plan))
        _until(lambda: not servers_of(world.prefect_home), 15)
        allowed = {frame: injector.deliveries * (1 + injector.explained[frame]) for frame in right}
        report.faults, report.missed = injector.faults, injector.missed
        if world.cloud is not None:
            stored = world.cloud.storage.asked_by[RENDERER]["insert jobs/segments"]
            report.missed += ["by_containers"] * (plan.by_containers and not stored)
            injected = world.cloud.storage.injected
            report.faults.update({f"storage: {it}": n for it, n in injected.items()})
        report.renderings = watcher.renderings().total()
        report.allowed = sum(allowed.values())
        report.retries = sum(1 for _ in world.direct.list(layout.attempts(job.job_id)))
        report.audit = audit(
            world.direct,
            job.job_id,
            reference=right,
            seen=watcher.seen,
            allowed=allowed,
            temporary=world.temporary,
            running_executions=_running_executions(world, job),
            servers=len(servers_of(world.prefect_home)),
        )
    report.seconds = time.monotonic() - started
    return report


def _run_to_the_end(plan: ChaosPlan, world: World, job: Job, injector: Injector, log: Path) -> int:
    """Run the job until it has completed, again if need be; how often it was."""

    def start() -> ClientProgram:
        return ClientProgram(world.where, job.job_id, log)

    clients = [start() for _ in range(1 + plan.twice)]
    starts = len(clients)
    deadline = time.monotonic() + RUN_SECONDS * _slower(plan)
    try:
        while True:
            codes = [client.returncode for client in clients]
            if None not in codes:
                if codes[-1] == 0:
                    return starts
                assert starts < _MOST_STARTS, clients[-1].said
                clients = [start()]
                starts += 1
            assert time.monotonic() < deadline, f"no end in sight: {plan}\n{clients[-1].said}"
            injector.inject(clients)
            time.sleep(0.1)
    finally:
        for client in clients:
            client.stop()


def _slower(plan: ChaosPlan) -> int:
    """How many times as long its run may take as another one."""
    return (_BUSY_SLOWER if plan.busy else 1) * (_LARGE_SLOWER if plan.by_containers else 1)


def _running_executions(world: World, job: Job) -> list[str]:
    executions = world.cluster.executions(job.job_id)
    return [execution.name for execution in executions if execution.completed is None]


def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for the condition, but no longer: the audit says what is wrong then."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
