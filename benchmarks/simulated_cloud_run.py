"""Cloud Run jobs on a virtual clock, with the limits that Google documents, and a storage beside.

benchmarks/cloud_run_waves.py runs the real dispatcher against it. Nothing is rendered: a frame
takes the seconds that it is said to take.
"""

from __future__ import annotations

import asyncio
import base64
import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client.cloud_run import prices_and_limits
from povstorm_client.cloud_run.api import ExecutionState, TaskState
from povstorm_client.cloud_run.wave_share import WaveFrame, read_share
from povstorm_client.errors import CloudError, StorageError
from povstorm_client.frames.result import FrameResult, FrameStatistics
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.protocol import PAGE_OBJECTS, Storage, StoredObject
from render_image.frame_queue import FrameQueue

# https://cloud.google.com/run/quotas: 60 to 180 a minute, by region; here the least.
RUN_CALLS_A_MINUTE = 60
MOST_RUNNING_EXECUTIONS = 1_000
# One grey pixel.
_IMAGE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


class MemoryStorage:
    """Objects in memory; clock tells the time, in seconds, of their changes."""

    uri = "memory:"
    poll_seconds = 2.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._objects: dict[str, tuple[bytes, float]] = {}

    def prepare(self) -> None:
        """It is."""

    def read(self, key: str) -> bytes:
        """The object's bytes."""
        if key not in self._objects:
            raise StorageError(f"{key} is not there")
        return self._objects[key][0]

    def find(self, key: str) -> bytes | None:
        """The object's bytes, if it is there."""
        return self._objects[key][0] if key in self._objects else None

    def write(self, key: str, data: bytes) -> None:
        """Create or replace an object."""
        self._objects[key] = (data, self._clock())

    def create(self, key: str, data: bytes) -> bool:
        """Create an object that is not there yet."""
        return self.create_or_read(key, data) == data

    def create_or_read(self, key: str, data: bytes) -> bytes:
        """The object's bytes, which are these if it was not there yet."""
        if key not in self._objects:
            self.write(key, data)
        return self.read(key)

    def stat(self, key: str) -> StoredObject | None:
        """What is known of the object."""
        if key not in self._objects:
            return None
        data, changed = self._objects[key]
        return StoredObject(key, len(data), changed)

    def crc32c(self, key: str) -> str:
        """The object's checksum."""
        return crc32c_of(self.read(key))

    def sha256(self, key: str) -> str | None:
        """Not known."""
        return None

    def list(self, prefix: str, *, contents: bool = False) -> Iterator[StoredObject]:
        """All objects under the prefix."""
        for key, (data, changed) in list(self._objects.items()):
            if key.startswith(f"{prefix}/"):
                yield StoredObject(key, len(data), changed, content=data if contents else None)

    def page(self, prefix: str, start: str, *, contents: bool = False) -> Sequence[StoredObject]:
        """The first of them from a key on."""
        behind = (each for each in self.list(prefix, contents=contents) if each.key >= start)
        return heapq.nsmallest(PAGE_OBJECTS, behind, key=lambda stored: stored.key)

    def folders(self, prefix: str) -> Iterator[str]:
        """What lies directly under the prefix and has something under it."""
        below = (key.removeprefix(f"{prefix}/") for key in self._objects if key.startswith(prefix))
        yield from {key.partition("/")[0] for key in below if "/" in key}

    def top(self) -> Iterator[str]:
        """The first part of each key."""
        yield from {key.partition("/")[0] for key in self._objects}

    def remove(self, key: str) -> None:
        """Delete an object."""
        self._objects.pop(key, None)

    def remove_unless(self, key: str, keep: Callable[[bytes], bool]) -> bytes | None:
        """Delete an object unless it is to be kept."""
        data = self.find(key)
        if data is not None and keep(data):
            return data
        self.remove(key)
        return None

    def delete(self, prefix: str, which: Callable[[str], bool] | None = None) -> None:
        """Delete all objects under the prefix."""
        for key in list(self._objects):
            if f"{key}/".startswith(f"{prefix}/") and (which is None or which(key)):
                self.remove(key)

    def copy(self, source: str, target: str) -> None:
        """Copy an object."""
        self.write(target, self.read(source))

    def join(self, key: str, parts: Sequence[str]) -> None:
        """Put objects together."""
        self.write(key, b"".join(map(self.read, parts)))

    def renew(self, key: str) -> None:
        """Let the object's age begin anew."""
        self.copy(key, key)

    def upload(self, key: str, path: Path, on_progress: Callable[[int], None] | None = None) -> str:
        """Nothing here has files."""
        raise NotImplementedError

    def download(self, key: str, path: Path) -> None:
        """Nothing here has files."""
        raise NotImplementedError

    def mount(
        self,
        prefix: str,
        link: Path,
        *,
        keep: bool = False,
        exposed: bool = False,
        check: Callable[[Path], None] | None = None,
    ) -> None:
        """Nothing here has files."""
        raise NotImplementedError


@dataclass
class _Task:
    index: int
    started: float | None = None
    completed: float | None = None


@dataclass
class _Execution:
    name: str
    wave_uri: str
    created: float
    tasks: list[_Task] = field(default_factory=list)


class SimulatedCloudRun:
    """CloudRunApi without Google: at most so many tasks at once, each with a start-up time.

    seconds_of: CPU seconds by frame number. A task of one vCPU renders frame after frame, which
    takes as long as several at once.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        parallelism: int,
        startup_seconds: float,
        seconds_of: Callable[[int], float],
        seed: int = 1,
    ) -> None:
        self._storage = storage
        self._slots = asyncio.Semaphore(parallelism)
        self._startup = startup_seconds
        self._seconds_of = seconds_of
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._executions: dict[str, _Execution] = {}
        self._run_calls: deque[float] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self.calls = 0

    @property
    def billed_seconds(self) -> float:
        """Of all tasks that started, each at least a minute."""
        return sum(
            max(prices_and_limits.LEAST_BILLED_SECONDS, (task.completed or 0.0) - task.started)
            for execution in self._executions.values()
            for task in execution.tasks
            if task.started is not None
        )

    def image(self, job: str) -> str:
        """Some image."""
        self.calls += 1
        return "render:1"

    def missing_permissions(self, job: str) -> list[str]:
        """None."""
        return []

    def run(self, job: str, *, wave_uri: str, tasks: int) -> str:
        """Start an execution, within the quotas."""
        self.calls += 1
        now = asyncio.get_running_loop().time()
        while self._run_calls and self._run_calls[0] <= now - 60:
            self._run_calls.popleft()
        if len(self._run_calls) >= RUN_CALLS_A_MINUTE:
            raise CloudError("quota of run calls a minute", "quota")
        running = sum(self._completed(each) is None for each in self._executions.values())
        if running >= MOST_RUNNING_EXECUTIONS:
            raise CloudError("quota of running executions", "quota")
        if tasks > prices_and_limits.MOST_TASKS_PER_EXECUTION:
            raise CloudError("too many tasks", "refused")
        self._run_calls.append(now)
        name = f"{job}/executions/e{len(self._executions) + 1}"
        execution = _Execution(name, wave_uri, now, [_Task(index) for index in range(tasks)])
        self._executions[name] = execution
        for task in execution.tasks:
            working = asyncio.get_running_loop().create_task(
                self._work(execution, task), name="cloud-task"
            )
            self._working.add(working)
            working.add_done_callback(self._working.discard)
        return name

    def execution(self, name: str) -> ExecutionState:
        """One execution."""
        self.calls += 1
        execution = self._executions[name]
        done = sum(task.completed is not None for task in execution.tasks)
        return ExecutionState(
            name=name,
            wave_uri=execution.wave_uri,
            task_count=len(execution.tasks),
            running=len(execution.tasks) - done,
            succeeded=done,
            failed=0,
            cancelled=0,
            retried=0,
            created=execution.created,
            completed=self._completed(execution),
            message="",
        )

    def executions(self, job: str, most: int = 200) -> list[ExecutionState]:
        """None of an earlier run."""
        self.calls += 1
        return []

    def tasks(self, execution: str) -> list[TaskState]:
        """All tasks of an execution."""
        self.calls += 1
        return [
            TaskState(
                index=task.index,
                outcome="running" if task.completed is None else "succeeded",
                exit_code=0,
                term_signal=0,
                message="",
                started=task.started,
                completed=task.completed,
            )
            for task in self._executions[execution].tasks
        ]

    def cancel(self, execution: str) -> None:
        """Its tasks go on; who stops an execution waits for none of them."""
        self.calls += 1

    async def encode(self, wave: str, task: int) -> None:
        """Encode what a task of a wave of segments has to."""
        raise NotImplementedError

    def _completed(self, execution: _Execution) -> float | None:
        times = [task.completed for task in execution.tasks]
        return max(time for time in times if time) if all(times) else None

    async def _work(self, execution: _Execution, task: _Task) -> None:
        loop = asyncio.get_running_loop()
        async with self._slots:
            task.started = loop.time()
            await asyncio.sleep(self._startup * self._random.uniform(0.8, 1.2))
            wave = execution.wave_uri.removeprefix(f"{self._storage.uri}/")
            if layout.is_segment_wave(wave.rpartition("/")[2]):
                await self.encode(wave, task.index)
                task.completed = loop.time()
                return
            share = read_share(self._storage, wave, task.index)
            frames = FrameQueue(self._storage, wave, task.index, share)
            while frame := await frames.next_own() or await frames.next_of_others():
                started = loop.time()
                seconds = self._seconds_of(frame.unit.frame)
                await asyncio.sleep(seconds)
                unit = frame.unit
                self._storage.write(f"{unit.offload_gcs_prefix}/{unit.image_name}", _IMAGE)
                results = FrameResults(self._storage, unit.job_id)
                results.commit(rendered(frame, seconds, started, f"task-{task.index}"))
            task.completed = loop.time()


def rendered(frame: WaveFrame, seconds: float, started: float, host: str) -> FrameResult:
    """What a container stores of a frame; seconds: what it took, started: Unix seconds."""
    unit = frame.unit
    return FrameResult(
        work_unit_id=unit.work_unit_id,
        job_id=unit.job_id,
        frame=unit.frame,
        state="rendered",
        attempt=frame.attempt,
        host=host,
        started=started,
        ended=started + seconds,
        image=unit.image_name,
        image_bytes=len(_IMAGE),
        image_crc32c=crc32c_of(_IMAGE),
        renderer_version="3.7.simulated",
        statistics=FrameStatistics(
            parse_seconds=0.0,
            bounding_seconds=0.0,
            photon_seconds=0.0,
            radiosity_seconds=0.0,
            trace_seconds=0.0,
            cpu_seconds=seconds,
            wall_seconds=seconds,
            peak_memory_bytes=64 * 2**20,
            pixels=1,
            rays=None,
            samples=None,
            image_bytes=1,
        ),
    )
