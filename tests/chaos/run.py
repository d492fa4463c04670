"""One chaos run: start the job, inject what the plan says, and audit what is left."""

from __future__ import annotations

import contextlib
import random
import secrets
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from povstorm_client import Cluster, Job
from povstorm_client.gcs_storage import GcsStorage
from povstorm_client.running_flow import RunningFlow
from povstorm_client.storage import Storage
from tests.chaos.animation import make_job, reference
from tests.chaos.audit import Audit, audit, processes_of
from tests.chaos.plan import FRAMES, STORAGE_FAULTS, ChaosPlan
from tests.chaos.prefect_server import PrefectServer
from tests.chaos.watcher import Watcher
from tests.e2e.google_cloud import GoogleCloud, google_cloud
from tests.emulators.gcs.proxy import GcsProxy
from tests.emulators.gcs.server import GcsServer

RUN_SECONDS = 240.0
_RETRIES = 6
_DISK = "12m"
_DISK_FULL_SECONDS = 4.0
# A job whose flow was told to give up is run again, as a user would; so often at most.
_MOST_STARTS = 5


@dataclass
class Report:
    """What a run met, and what the audit says. faults: injected, by kind."""

    plan: ChaosPlan
    faults: Counter[str] = field(default_factory=Counter)
    renderings: int = 0
    retries: int = 0
    starts: int = 0
    explained: int = 0
    seconds: float = 0.0
    audit: Audit | None = None

    def __str__(self) -> str:
        """Three lines for people."""
        injected = sorted(+self.faults)
        faults = ", ".join(f"{self.faults[kind]} x {kind}" for kind in injected)
        counts = (
            f"faults {self.faults.total()} ({faults}); flows started {self.starts}, retries "
            f"{self.retries}, renderings {self.renderings} of {FRAMES} frames "
            f"({self.explained} more are explained); "
        )
        if self.audit is not None:
            counts += f"frames lost {self.audit.lost}, corrupt accepted {self.audit.corrupt}"
            counts += "".join(f"\n  VIOLATION {each}" for each in self.audit.violations)
        return f"{self.plan}\n  {self.seconds:.0f} s; {counts}"


@dataclass
class _World:
    """Where a run happens. direct: a way to the storage without faults."""

    cluster: Cluster
    direct: Storage
    folder: Path
    temporary: Path
    prefect: PrefectServer
    disk: Path | None = None
    cloud: GoogleCloud | None = None
    proxy: GcsProxy | None = None


def run(plan: ChaosPlan, folder: Path, prefect: PrefectServer) -> Report:
    """Render the animation while the plan goes wrong. folder: an empty one, for all files."""
    right = reference(FRAMES, folder / "reference")
    report = Report(plan)
    started = time.monotonic()
    with _world(plan, folder, prefect) as world:
        name = f"chaos{secrets.token_hex(4)}"
        job = make_job(world.cluster, name, FRAMES, folder, retries=_RETRIES, video=None)
        job.submit()
        with Watcher(name, job.job_id, world.direct) as watcher:
            _Chaos(plan, world, job, watcher, report).run_to_the_end()
        _until(lambda: not _running_executions(world, job), 30)
        # A process ends a moment after it was killed, and its children a moment after that.
        _until(lambda: not processes_of(job.job_id), 5)
        seen = watcher.seen
        report.renderings = seen.renderings.total()
        report.retries = sum(result.attempt - 1 for result in job.results())
        report.audit = audit(
            world.direct,
            job.job_id,
            reference=right,
            seen=seen,
            explained=report.explained,
            temporary=world.temporary,
            running_executions=_running_executions(world, job),
        )
    report.seconds = time.monotonic() - started
    return report


class _Chaos:
    """The faults of one run, each at its moment."""

    def __init__(
        self, plan: ChaosPlan, world: _World, job: Job, watcher: Watcher, report: Report
    ) -> None:
        self._plan = plan
        self._world = world
        self._job = job
        self._watcher = watcher
        self._report = report
        self._random = random.Random(plan.seed)  # noqa: S311 - no secret
        self._flows: list[RunningFlow] = []
        self._due: list[tuple[int, Callable[[], bool]]] = [
            (moment, action)
            for moments, action in (
                (plan.kill_povray, self._kill_povray),
                (plan.kill_container, self._kill_container),
                (plan.kill_flow, self._kill_flow),
                (plan.fill_disk, self._fill_disk),
                ([FRAMES // 3] if plan.stop_prefect else [], self._stop_prefect),
            )
            for moment in moments
        ]

    def run_to_the_end(self) -> None:
        """Start the job, until a flow of it has completed."""
        if self._plan.twice:
            self._report.faults["job started twice"] += 1
            self._report.explained += FRAMES
            self._start()
        if self._plan.run_tasks_twice:
            self._report.faults["tasks delivered twice"] += 1
            self._report.explained += FRAMES
        self._report.faults["submit accepted without an answer"] += self._plan.lose_answers
        self._report.faults["submit refused by a quota"] += self._plan.refuse_runs
        self._report.faults["clock ahead or behind"] += bool(self._plan.skew)
        self._start()
        deadline = time.monotonic() + RUN_SECONDS
        try:
            while not self._is_over():
                assert time.monotonic() < deadline, f"no end in sight: {self._plan}"
                self._inject()
                time.sleep(0.1)
        finally:
            for flow in self._flows:
                flow.stop()
        if self._world.proxy is not None:
            self._report.faults.update(
                {f"storage: {kind}": n for kind, n in self._world.proxy.injected.items() if n}
            )

    def _start(self) -> None:
        self._report.starts += 1
        self._flows.append(self._world.cluster.start(self._job.job_id))

    def _is_over(self) -> bool:
        codes = [flow.returncode for flow in self._flows]
        if None in codes:
            return False
        if codes and codes[-1] == 0:
            return True
        assert self._report.starts < _MOST_STARTS, self._flows[-1].log
        self._flows.clear()
        self._start()
        return False

    def _inject(self) -> None:
        stored = self._watcher.stored()
        for moment, action in self._due[:]:
            if stored >= moment and action():
                self._due.remove((moment, action))

    def _kill_povray(self) -> bool:
        processes = self._watcher.povray_processes()
        if not processes:
            return False
        self._kill(self._random.choice(processes), "POV-Ray killed")
        self._report.explained += 1
        return True

    def _kill_container(self) -> bool:
        containers = _processes_with("render_image.entrypoint", self._job.job_id)
        if not containers:
            return False
        self._report.explained += self._in_work()
        self._kill(self._random.choice(containers), "container killed")
        return True

    def _kill_flow(self) -> bool:
        flows = _processes_with("flows.render_job", self._job.job_id)
        if not flows:
            return False
        # On Cloud Run what was in work goes on without the flow, and is taken over.
        self._report.explained += self._in_work()
        self._kill(self._random.choice(flows), "flow killed")
        return True

    def _kill(self, process: psutil.Process, kind: str) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            self._report.faults[kind] += 1

    def _in_work(self) -> int:
        """Frames that were begun and have no result: what a kill can cost."""
        return max(0, len(self._watcher.seen.renderings) - self._watcher.stored()) + len(
            self._watcher.povray_processes()
        )

    def _fill_disk(self) -> bool:
        disk = self._world.disk
        if disk is None:
            return True
        self._report.faults["disk full"] += 1
        filler = disk / "filler"
        with filler.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65536))
                file.flush()
        before = self._watcher.seen.renderings.total()
        time.sleep(_DISK_FULL_SECONDS)
        filler.unlink()
        # Whatever was rendered meanwhile could not be stored.
        during = self._watcher.seen.renderings.total() - before
        self._report.explained += during + self._in_work()
        return True

    def _stop_prefect(self) -> bool:
        self._report.faults["Prefect server stopped"] += 1
        with self._world.prefect.stopped():
            time.sleep(self._plan.stop_prefect)
        return True


@contextmanager
def _world(plan: ChaosPlan, folder: Path, prefect: PrefectServer) -> Iterator[_World]:
    temporary = folder / "temporary"
    temporary.mkdir()
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("PREFECT_API_URL", prefect.url)
        patch.setenv("POVSTORM_HOME", str(folder / "home"))
        if plan.where == "cloud":
            world = stack.enter_context(_cloud(plan, folder, temporary, prefect))
        else:
            storage = folder / "storage"
            storage.mkdir()
            if plan.fill_disk:
                stack.enter_context(_small_disk(storage))
            cluster = Cluster.local(storage)
            disk = storage if plan.fill_disk else None
            world = _World(cluster, cluster.storage, folder, temporary, prefect, disk)
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", None)
        yield world


@contextmanager
def _cloud(
    plan: ChaosPlan, folder: Path, temporary: Path, prefect: PrefectServer
) -> Iterator[_World]:
    knobs = {
        "lose_answers": plan.lose_answers,
        "refuse_runs": plan.refuse_runs,
        "run_tasks_twice": plan.run_tasks_twice,
        "clock_skew_seconds": float(plan.skew),
    }
    with (
        GcsProxy() as proxy,
        GcsServer(proxy) as gcs,
        google_cloud(folder, gcs, **knobs) as cloud,
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", proxy.upstream)
            direct = GcsStorage(cloud.bucket)
            direct.stat("opens it")
        cluster = Cluster.from_terraform_outputs(cloud.outputs)
        world = _World(cluster, direct, folder, temporary, prefect, None, cloud, proxy)
        proxy.clock_skew = float(plan.skew)
        with proxy.injecting(**{kind: STORAGE_FAULTS[kind] for kind in plan.storage}):
            yield world


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own that can be filled."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "povstorm-chaos", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def _processes_with(*words: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if all(word in line for word in words) and "bwrap" not in line:
            found.append(process)
    return found


def _running_executions(world: _World, job: Job) -> list[str]:
    executions = world.cluster.executions(job.job_id)
    return [execution.name for execution in executions if execution.completed is None]


def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for the condition, but no longer: the audit says what is wrong then."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
