"""Bad data of one frame or one task on Cloud Run is its own: containers and dispatcher go on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from povstorm_client import RenderError, RenderSettings, StorageError, WorkUnit
from povstorm_client.cloud_run.api import ExecutionState, TaskState
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.cloud_run.wave_share import read_share
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer
from tasks.renderers.cloud_run.wave_setting import Pace
from tests.conftest import SPHERE
from tests.integration.test_entrypoint import JOB, run, stored, wave

__all__ = ["wave"]

WAVE = layout.wave(JOB, "w1")


def test_a_share_of_another_task_that_is_not_readable_costs_no_frame(storage: FolderStorage, wave):
    uri = wave({1: SPHERE, 2: SPHERE}, {3: SPHERE, 4: SPHERE})
    storage.write(layout.wave_share(WAVE, 0), b'{"frames": [{"unit": 1}]}')

    status, lines = run(uri, index=1)

    assert status == 0
    assert {frame: result["state"] for frame, result in stored(storage).items()} == {
        3: "rendered",
        4: "rendered",
    }
    (warning,) = [line for line in lines if line["severity"] == "WARNING"]
    assert "no help for other tasks" in warning["message"]


@pytest.mark.parametrize("claim", [b"[]", b'{"task": {}, "container": 3}', b"\xff"])
def test_a_claim_that_is_not_readable_costs_its_frame_only(
    claim: bytes, storage: FolderStorage, wave
):
    uri = wave(dict.fromkeys((1, 2, 3, 4), SPHERE))
    third = read_share(storage, WAVE, 0).frames[2].unit
    storage.write(layout.wave_claim(WAVE, third.work_unit_id), claim)

    status, lines = run(uri)

    assert sorted(stored(storage)) == [1, 2, 4]
    if status:
        assert "is not readable" in "".join(line["message"] for line in lines)


@pytest.mark.parametrize("data", [b"[]", b"{", b'{"frame": 1}', b"\xff", b"null"])
def test_an_earlier_result_that_is_not_readable_is_rendered_again(
    data: bytes, storage: FolderStorage, wave
):
    uri = wave({1: SPHERE, 2: SPHERE})
    first = read_share(storage, WAVE, 0).frames[0].unit
    storage.write(layout.result(JOB, first.work_unit_id), data)

    assert run(uri, attempt=1)[0] == 0
    assert {frame: result["state"] for frame, result in stored(storage).items()} == {
        1: "rendered",
        2: "rendered",
    }


FLEET = CloudRunFleet("project", "region", (CloudRunJob("render", 1, 512, 4, 0, 600),))
PACE = Pace(gather_quiet=0.02, gather_most=60.0, poll=0.02, sample=5.0, finish=0.0)


class FakeApi:
    """Executions that store what a function makes of each unit, as soon as they are started."""

    def __init__(
        self, storage: FolderStorage, outcome: Callable[[FrameResult], dict | FrameResult]
    ) -> None:
        self._storage = storage
        self._outcome = outcome
        self.started: list[list[int]] = []

    def image(self, job: str) -> str:
        return "render:test"

    def executions(self, job: str) -> Iterator[ExecutionState]:
        return iter(())

    def run(self, job: str, *, wave_uri: str, tasks: int) -> str:
        prefix = wave_uri.removeprefix(f"{self._storage.uri}/")
        shares = [read_share(self._storage, prefix, task) for task in range(tasks)]
        frames = [frame for share in shares for frame in share.frames]
        self.started.append(sorted(frame.unit.frame for frame in frames))
        for frame in frames:
            unit = frame.unit
            result = FrameResult(
                unit.work_unit_id,
                JOB,
                unit.frame,
                "rendered",
                attempt=frame.attempt,
                host="task",
                started=1.0,
                ended=2.0,
                image=unit.image_name,
            )
            made = self._outcome(result)
            data = made if isinstance(made, dict) else made.to_json()
            self._storage.write(layout.result(JOB, unit.work_unit_id), json.dumps(data).encode())
        return f"executions/{len(self.started)}"

    def execution(self, name: str) -> ExecutionState:
        now = time.time()
        return ExecutionState(name, "", 1, 1, 0, 0, 0, 0, now, None, "")

    def tasks(self, execution: str) -> list[TaskState]:
        return []

    def cancel(self, execution: str) -> None:
        pass


def units(frames: int) -> list[WorkUnit]:
    settings = RenderSettings(scene="scene.pov", final_frame=frames)
    return [
        WorkUnit(settings, frame=frame, inline_resource={"scene.pov": ""}).assigned(
            job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB)
        )
        for frame in range(1, frames + 1)
    ]


async def render_all(
    api: FakeApi, storage: FolderStorage, frames: int, *, wait: Callable[[set], bool]
) -> dict[int, str]:
    """What became of each frame, by its number: its state, or the error.

    wait: whether to go on waiting, given the tasks of frames that have no outcome yet.
    """

    async def render(renderer: CloudRunRenderer, unit: WorkUnit) -> str:
        try:
            async with renderer.admission(unit):
                return (await renderer.render(unit, attempt=1, final_attempt=True)).state
        except (RenderError, StorageError) as error:
            return f"{type(error).__name__}: {error}"

    async with CloudRunRenderer(storage, JOB, FLEET, api, pace=PACE) as renderer:
        tasks = {unit.frame: asyncio.create_task(render(renderer, unit)) for unit in units(frames)}
        while wait({task for task in tasks.values() if not task.done()}):
            await asyncio.sleep(PACE.poll)
        outcomes = {frame: task.result() for frame, task in tasks.items() if task.done()}
        for task in tasks.values():
            task.cancel()
        await asyncio.wait(tasks.values())
    return outcomes


ODD_STATISTICS = dict.fromkeys(
    [
        *("parse_seconds", "bounding_seconds", "photon_seconds", "radiosity_seconds"),
        *("trace_seconds", "cpu_seconds", "wall_seconds", "peak_memory_bytes", "pixels"),
        *("rays", "samples", "image_bytes"),
    ],
    "a lot",
)


@pytest.mark.parametrize(
    "odd",
    [
        lambda result: {**result.to_json(), "statistics": ODD_STATISTICS},
        lambda result: replace(result, work_unit_id="frame-0009-000000000000"),
        lambda result: replace(result, job_id="another"),
    ],
    ids=["statistics", "unit", "job"],
)
def test_a_result_that_cannot_be_used_fails_its_frame_and_no_other(
    odd: Callable[[FrameResult], dict | FrameResult], storage: FolderStorage
):
    api = FakeApi(storage, lambda result: odd(result) if result.frame == 2 else result)
    outcomes = asyncio.run(render_all(api, storage, frames=3, wait=lambda left: len(left) > 1))

    assert {outcomes[1], outcomes[3]} == {"rendered"}
    assert outcomes.get(2, "waits") != "rendered"


def test_a_wave_that_cannot_be_stored_fails_its_frames_and_is_not_the_end(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    api = FakeApi(storage, lambda result: result)
    write = storage.write
    failing = [True]

    def refuse_once(key: str, data: bytes) -> None:
        if key.endswith("/index.json") and failing:
            failing.clear()
            raise StorageError("no room")
        write(key, data)

    monkeypatch.setattr(storage, "write", refuse_once)

    async def twice() -> tuple[str, str]:
        async with CloudRunRenderer(storage, JOB, FLEET, api, pace=PACE) as renderer:
            (unit,) = units(1)

            async def once(attempt: int) -> str:
                async with renderer.admission(unit):
                    return (await renderer.render(unit, attempt=attempt, final_attempt=True)).state

            with pytest.raises(StorageError, match="no room"):
                await asyncio.wait_for(once(1), 30)
            return await asyncio.wait_for(once(2), 30)

    assert asyncio.run(twice()) == "rendered"


def test_an_error_of_ours_in_the_dispatcher_is_told_to_all_frames_and_nobody_waits_for_ever(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    api = FakeApi(storage, lambda result: result)

    def fail(name: str) -> ExecutionState:
        raise KeyError("nobody thought of this")

    monkeypatch.setattr(api, "execution", fail)

    async def twice() -> None:
        async with CloudRunRenderer(storage, JOB, FLEET, api, pace=PACE) as renderer:
            for unit in units(2):
                async with renderer.admission(unit):
                    with pytest.raises(KeyError, match="nobody thought of this"):
                        await asyncio.wait_for(
                            renderer.render(unit, attempt=1, final_attempt=True), 30
                        )

    asyncio.run(twice())


def test_when_all_of_the_sample_fails_alike_no_further_wave_starts_in_a_hurry(
    storage: FolderStorage,
):
    api = FakeApi(
        storage, lambda result: replace(result, state="failed", image="", error="Parse Error")
    )
    polls = iter(range(1_000))

    def wait(left: set) -> bool:
        # Some more polls after the sample's end: the dispatcher looks for work in each.
        return len(left) > 44 or next(polls) < 10

    outcomes = asyncio.run(render_all(api, storage, frames=60, wait=wait))

    assert len(api.started) == 1
    assert len(outcomes) == 16
    assert all("Parse Error" in outcome for outcome in outcomes.values())
