"""What holds for every renderer: processes here, and tasks of the stand-in of Cloud Run."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from PIL import Image

from povstorm_client.cloud_run.api import GoogleCloudRun
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.scene_estimate import Estimate
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.errors import RenderError
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.programs.tools import require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage
from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer, Pace
from tasks.renderers.local_renderer import LocalRenderer
from tasks.renderers.renderer import Renderer
from tests.e2e.google_cloud import SIZES, GoogleCloud, google_cloud
from tests.emulators.cloud_run.server import PROJECT, REGION
from tests.emulators.gcs.server import GcsServer

JOB = "orbit-1"
ENDLESS = "#version 3.7;\n#while (1) #end\n"
BROKEN = "#version 3.7;\nsphere { 0, 1 \n"
# It prints what cannot be true, which is nothing that a renderer was made for.
SECONDS = '#debug "Trace Time: 0 hours 0 minutes 0 seconds (999999999 seconds)\\n"'
ODD = f"#version 3.7;\n#for (I, 1, 200) {SECONDS} #end\n"
# More than any renderer admits at once.
MANY = 10_001
FLEET = CloudRunFleet(
    PROJECT,
    REGION,
    tuple(CloudRunJob(name, 1, memory, 4, 0, 600) for name, memory in SIZES.items()),
)
PACE = Pace(gather_quiet=0.05, poll=0.1)


@dataclass(frozen=True)
class Kind:
    """One kind of renderer: where it stores, how to make one, and what it has at work now."""

    storage: Storage
    make: Callable[[float | None], Renderer]
    at_work: Callable[[], int]

    @property
    def results(self) -> FrameResults:
        return FrameResults(self.storage, JOB)


def local(folder: Path) -> Kind:
    storage, povray = FolderStorage(folder), require_povray()

    def at_work() -> int:
        children = psutil.Process().children(recursive=True)
        return sum(child.name().startswith("povray") for child in children)

    return Kind(
        storage, lambda timeout: LocalRenderer(storage, povray, frame_timeout=timeout), at_work
    )


def on_cloud_run(bucket: str) -> Kind:
    storage, api = GcsStorage(bucket), GoogleCloudRun()

    def at_work() -> int:
        found = [each for job in FLEET.jobs for each in api.executions(FLEET.job_path(job))]
        return sum(each.completed is None for each in found)

    def make(timeout: float | None) -> Renderer:
        # As it is from a scene's second run on; its first has a sample ahead.
        before = Estimate(frames=1, total_cpu_seconds=1.0)
        return CloudRunRenderer(
            storage,
            JOB,
            FLEET,
            api,
            estimate=before,
            settings=JobSettings(frame_timeout=timeout),
            pace=PACE,
        )

    return Kind(storage, make, at_work)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, gcs_server: GcsServer) -> Iterator[GoogleCloud]:
    with google_cloud(tmp_path_factory.mktemp("cloud"), gcs_server) as cloud:
        yield cloud


@pytest.fixture(params=["local", "cloud_run"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    if request.param == "local":
        return local(tmp_path / "storage")
    cloud: GoogleCloud = request.getfixturevalue("cloud")
    found = on_cloud_run(cloud.bucket)
    # What the test before has started, and stored.
    until_idle(found)
    found.storage.delete(layout.job(JOB))
    assert found.results.all() == []
    return found


def until_idle(kind: Kind) -> None:
    """Until nothing is at work: Cloud Run takes note of a cancellation, and ends containers later.

    A container that has rendered its last frame takes a moment to end, too.
    """
    deadline = time.monotonic() + 60
    while kind.at_work():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def unit(sphere_unit) -> Callable[..., WorkUnit]:
    """A function that makes a unit of the job."""

    def make(*frame_and_scene) -> WorkUnit:
        return sphere_unit(*frame_and_scene).assigned(
            job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB)
        )

    return make


async def admitted(
    renderer: Renderer, unit: WorkUnit, *, attempt: int = 1, final_attempt: bool = True
) -> FrameResult:
    async with renderer.admission(unit):
        return await renderer.render(unit, attempt=attempt, final_attempt=final_attempt)


def render(
    kind: Kind, *units: WorkUnit, timeout: float | None = None, **attempt
) -> list[FrameResult | BaseException]:
    """What comes of frames that are rendered at once, by a renderer of their own."""

    async def run() -> list[FrameResult | BaseException]:
        async with kind.make(timeout) as renderer:
            assert renderer.version
            each = (admitted(renderer, unit, **attempt) for unit in units)
            return await asyncio.gather(*each, return_exceptions=True)

    return asyncio.run(run())


def test_a_rendered_frame_is_stored_with_image_log_and_the_result_that_is_returned(
    kind: Kind, unit
):
    frame = unit()

    (result,) = render(kind, frame, attempt=2)

    assert isinstance(result, FrameResult)
    assert kind.results.read(frame) == result
    assert (result.state, result.attempt, result.frame) == ("rendered", 2, frame.frame)
    assert result.statistics is not None
    assert Image.open(io.BytesIO(kind.results.image(frame))).size == (32, 24)
    assert b"Trace Time" in (kind.results.log(frame) or b"")


def test_a_frame_that_cannot_be_parsed_fails_for_good_and_leaves_the_others(kind: Kind, unit):
    bad, good = unit(1, BROKEN), unit(2)

    error, result = render(kind, bad, good, final_attempt=False)

    assert isinstance(error, RenderError)
    assert not error.retryable
    assert "frame 1: " in str(error)
    assert "Parse Error" in str(error)
    assert "Parse Error" in error.log_tail
    stored = kind.results.read(bad)
    assert stored is not None
    assert (stored.state, stored.log_tail) == ("failed", error.log_tail)
    assert b"Parse Error" in (kind.results.log(bad) or b"")
    assert isinstance(result, FrameResult)
    assert result.state == "rendered"


def test_a_frame_that_fails_oddly_is_a_failure_of_its_own_too(kind: Kind, unit):
    odd, good = unit(1, ODD), unit(2)

    error, result = render(kind, odd, good, final_attempt=False)

    assert isinstance(error, RenderError)
    assert not error.retryable
    assert "looks like POV-Ray's statistics" in str(error)
    stored = kind.results.read(odd)
    assert stored is not None
    assert stored.state == "failed"
    assert not kind.results.has_image(odd)
    assert isinstance(result, FrameResult)


@pytest.mark.parametrize(("final_attempt", "state"), [(False, "retrying"), (True, "failed")])
def test_a_failure_that_can_pass_is_retrying_until_the_final_attempt(
    kind: Kind, unit, final_attempt: bool, state: str
):
    endless = unit(1, ENDLESS)

    (error,) = render(kind, endless, timeout=0.5, attempt=3, final_attempt=final_attempt)

    assert isinstance(error, RenderError)
    stored = kind.results.read(endless)
    assert stored is not None
    assert (stored.state, stored.attempt) == (state, 3)
    # Of a final attempt only the result tells; whoever asked knows that it was the last.
    assert error.retryable or final_attempt


def test_a_frame_that_is_cancelled_ends_what_works_on_it_and_has_no_result(kind: Kind, unit):
    endless = unit(1, ENDLESS)

    async def run() -> None:
        async with kind.make(None) as renderer:
            rendering = asyncio.create_task(admitted(renderer, endless))
            while not await asyncio.to_thread(kind.at_work):
                assert not rendering.done()
                await asyncio.sleep(0.05)
            rendering.cancel()
            await asyncio.wait({rendering})
            assert rendering.cancelled()
            # As whoever stops a flow does.
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    until_idle(kind)
    assert kind.results.all() == []


def test_a_frame_that_an_earlier_run_has_rendered_keeps_its_result_and_image(kind: Kind, unit):
    frame = unit()
    (first,) = render(kind, frame)
    image = kind.results.image(frame)

    assert render(kind, frame, attempt=2) == [first]

    assert kind.results.image(frame) == image


def test_what_a_failed_attempt_has_stored_is_replaced_by_the_next(kind: Kind, unit):
    frame = unit()
    (error,) = render(kind, unit(1, ENDLESS), timeout=0.5, final_attempt=False)
    assert isinstance(error, RenderError)
    failure = kind.results.all()[0]
    kind.storage.delete(layout.results(JOB))
    kind.results.fail(replace(failure, work_unit_id=frame.work_unit_id))

    (result,) = render(kind, frame, attempt=2)

    assert isinstance(result, FrameResult)
    assert kind.results.read(frame) == result
    assert (result.state, result.attempt) == ("rendered", 2)


def test_a_slot_is_given_back_by_a_frame_that_ends_badly(kind: Kind, unit):
    frame = unit()

    async def run() -> FrameResult:
        async with kind.make(None) as renderer:
            for _ in range(MANY):
                with pytest.raises(KeyError):
                    async with renderer.admission(frame):
                        raise KeyError
            return await asyncio.wait_for(admitted(renderer, frame), 120)

    assert asyncio.run(run()).state == "rendered"


def test_waiting_for_parsing_ends_when_a_frame_is_rendered(kind: Kind, unit):
    async def run() -> None:
        async with kind.make(None) as renderer:
            await admitted(renderer, unit())
            await asyncio.wait_for(renderer.has_parsed(), 30)

    asyncio.run(run())
