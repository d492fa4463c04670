"""Containers that all end before they store anything cost few containers, whatever the job's size.

The bucket does not let them in, or the image ends at once; with the job's usual retries.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from povstorm_client.cloud_run.api import NOT_LET_IN, ExecutionState, TaskState
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.cloud_run.wave_share import read_share
from povstorm_client.errors import CloudError
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage.folder import FolderStorage
from tasks.frames import plain_runs
from tasks.frames.job_progress import JobProgress
from tasks.frames.map_frames import map_frames
from tasks.frames.plain_runs import PlainRuns
from tasks.journal.journal import Journal
from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer
from tasks.renderers.cloud_run.wave_setting import Pace
from tasks.stored.frame_cache import FrameCache
from tests.integration.test_entrypoint import JOB
from tests.integration.test_odd_waves import FakeApi, units

LOG = logging.getLogger(__name__)
FLEET = CloudRunFleet("project", "region", (CloudRunJob("render", 1, 512, 100, 0, 600),))
PACE = Pace(
    gather_quiet=0.1, gather_most=1.0, poll=0.02, finish=0.0, grants=(0.02, 0.02, 0.02, 0.02)
)


class EndingApi(FakeApi):
    """Executions of which all tasks end at once; exits: with what, by the execution's number.

    0: they store the results of their frames. shapes: the frames and the tasks of each execution.
    """

    def __init__(self, storage: FolderStorage, exits: Callable[[int], int]) -> None:
        super().__init__(storage, lambda result: result)
        self._exits = exits
        self._ended: dict[str, tuple[int, int]] = {}
        self.shapes: list[tuple[int, int]] = []

    def run(self, job: str, *, wave_uri: str, tasks: int) -> str:
        number = len(self.shapes) + 1
        prefix = wave_uri.removeprefix(f"{self._storage.uri}/")
        shares = [read_share(self._storage, prefix, task) for task in range(tasks)]
        self.shapes.append((sum(len(share.frames) for share in shares), tasks))
        if code := self._exits(number):
            name = f"executions/run-{number}"
            self._ended[name] = (tasks, code)
            return name
        return super().run(job, wave_uri=wave_uri, tasks=tasks)

    def execution(self, name: str) -> ExecutionState:
        if name not in self._ended:
            return super().execution(name)
        tasks, now = self._ended[name][0], time.time()
        return ExecutionState(name, "", tasks, 0, 0, tasks, 0, 0, now, now, "")

    def tasks(self, execution: str) -> list[TaskState]:
        tasks, code = self._ended.get(execution, (0, 0))
        words, now = "The container exited with an error.", time.time()
        return [TaskState(index, "failed", code, 0, words, now, now) for index in range(tasks)]

    @property
    def containers(self) -> int:
        return sum(tasks for _, tasks in self.shapes)


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_runs, "RETRY_SECONDS", 0.0)


def render(
    storage: FolderStorage, api: EndingApi, frames: int, lean: str, told: list[str] | None = None
) -> list[FrameResult]:
    """What a job of so many frames comes to, with the usual retries."""

    cache = FrameCache(storage)

    async def run() -> list[FrameResult]:
        async with CloudRunRenderer(
            storage,
            JOB,
            replace(FLEET, lean=lean),
            api,
            pace=PACE,
            tell=(told if told is not None else []).append,
        ) as renderer:
            mapping = map_frames(
                units(frames),
                renderer=renderer,
                storage=storage,
                stored={},
                run=PlainRuns(
                    renderer,
                    storage,
                    {},
                    JobSettings().retries,
                    Journal(None),
                    LOG.warning,
                    cache,
                ),
                cache=cache,
                progress=JobProgress(storage, JOB, frames),
                logger=LOG,
                warn=LOG.warning,
            )
            return await asyncio.wait_for(mapping, 300)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("frames", "lean", "shapes"),
    [
        (12, "cheapest", [(12, 3)] * 5),
        (400, "cheapest", [(16, 4)] * 5),
        (400, "fastest", [(400, 100)] + [(16, 4)] * 4),
    ],
)
def test_a_job_whose_containers_are_never_let_in_tries_five_small_waves_and_says_what_to_do(
    storage: FolderStorage, frames: int, lean: str, shapes: list[tuple[int, int]]
):
    api = EndingApi(storage, lambda number: NOT_LET_IN)

    with pytest.raises(CloudError, match=r"tried 5 times.*terraform apply") as refusal:
        render(storage, api, frames, lean)

    assert refusal.value.kind == "refused"
    assert api.shapes == shapes


@pytest.mark.parametrize(("lean", "first"), [("cheapest", (16, 4)), ("fastest", (40, 40))])
def test_a_job_that_is_a_little_too_early_loses_no_attempt(
    storage: FolderStorage, lean: str, first: tuple[int, int]
):
    api = EndingApi(storage, lambda number: NOT_LET_IN if number <= 3 else 0)
    told: list[str] = []

    results = render(storage, api, 40, lean, told)

    assert [(result.state, result.attempt) for result in results] == [("rendered", 1)] * 40
    assert api.shapes[:4] == [first, (16, 4), (16, 4), (16, 4)]
    assert sum(frames for frames, _ in api.shapes[4:]) == 24
    assert any("may not read their work in the storage" in line for line in told)
    assert told[-1] == ""


@pytest.mark.parametrize(
    ("frames", "lean", "most"),
    # Four attempts at the first 16, and others that begin while these wait for their next one.
    [(12, "cheapest", 64), (400, "cheapest", 64), (400, "fastest", 100 + 64)],
)
def test_an_image_that_ends_at_once_stops_the_job_after_the_retries_of_its_first_frames(
    storage: FolderStorage, frames: int, lean: str, most: int
):
    api = EndingApi(storage, lambda number: 1)

    results = render(storage, api, frames, lean)

    assert {result.state for result in results} == {"failed"}
    assert all("was lost with exit code 1" in result.error for result in results)
    assert all(tasks <= 4 for _, tasks in api.shapes[1:])
    assert api.containers <= most
