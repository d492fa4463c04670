"""What waves, of frames and of segments, make of Google's limits: quotas, pages, moves, memory.

The stand-in answers in each of the ways in which Google may.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from povstorm_client import WorkUnit
from povstorm_client.cloud_run.api import GoogleCloudRun
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.scene_estimate import Estimate
from povstorm_client.cloud_run.stored_plan import read_plan
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.errors import CloudError
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage
from povstorm_client.storage.checksum import crc32c_of
from render_image.video.segments import Encoding, FrameImage, StoredImage
from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer
from tasks.renderers.cloud_run.wave_setting import Pace
from tasks.video.cloud_run.segment_dispatcher import SegmentPace
from tasks.video.cloud_run.segment_waves import SegmentWaves
from tests.conftest import SPHERE
from tests.e2e.google_cloud import RENDERER, SIZES, GoogleCloud, google_cloud
from tests.emulators.cloud_run.server import PROJECT, REGION
from tests.emulators.gcs.server import GcsServer

JOB = "orbit-1"
FLEET = CloudRunFleet(
    PROJECT,
    REGION,
    tuple(CloudRunJob(name, 1, memory, 4, 0, 600) for name, memory in SIZES.items()),
)
CONTAINERS = f"serviceAccount:{RENDERER}"
# More calls than any test makes.
NEVER = 10**6
HASTE = Pace(gather_quiet=0.05, poll=0.1, park_first=0.1, park_most=0.1, unbegun=0.1)
SECONDS = "#for (I, 1, 3000000) #declare X = sqrt(I); #end\n"
HUNGRY = "#declare A = array[100000000];\n#declare A[99999999] = 1;\n"


@pytest.fixture
def cloud(tmp_path: Path, gcs_server: GcsServer) -> Iterator[GoogleCloud]:
    with google_cloud(tmp_path, gcs_server) as cloud:
        yield cloud


@pytest.fixture
def unit(sphere_unit) -> Callable[..., WorkUnit]:
    """A function that makes a unit of the job."""

    def make(frame: int = 1, before: str = "") -> WorkUnit:
        scene = SPHERE.replace("#version 3.7;", f"#version 3.7;\n{before}")
        return sphere_unit(frame, scene).assigned(
            job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB)
        )

    return make


def render(
    cloud: GoogleCloud,
    *units: WorkUnit,
    pace: Pace = HASTE,
    fleet: CloudRunFleet = FLEET,
    meanwhile: Callable[[list[str]], Awaitable[None]] | None = None,
) -> tuple[list[FrameResult | BaseException], list[str]]:
    """What becomes of the last attempts at frames, and what was told.

    meanwhile: is given what was told until then.
    """
    told: list[str] = []

    async def one(renderer: CloudRunRenderer, unit: WorkUnit) -> FrameResult:
        async with renderer.admission(unit):
            return await renderer.render(unit, attempt=1, final_attempt=True)

    async def run() -> list[FrameResult | BaseException]:
        async with CloudRunRenderer(
            GcsStorage(cloud.bucket),
            JOB,
            fleet,
            GoogleCloudRun(),
            estimate=Estimate(frames=1, total_cpu_seconds=1.0),
            pace=pace,
            tell=told.append,
        ) as renderer:
            rendering = asyncio.gather(
                *(one(renderer, unit) for unit in units), return_exceptions=True
            )
            if meanwhile is not None:
                await asyncio.wait_for(meanwhile(told), 120)
            return await asyncio.wait_for(rendering, 300)

    return asyncio.run(run()), told


async def until_told(told: list[str], words: str) -> None:
    while not told or words not in told[-1]:
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("refusals", [1, 2], ids=["as 429", "as 429 and as a wrong argument"])
def test_a_region_without_room_is_waited_for_and_that_is_told_once(
    cloud: GoogleCloud, unit, refusals: int
):
    cloud.run.set_knobs(vcpu_quota=0.5, quota_refuses="none fits")

    async def make_room(told: list[str]) -> None:
        await until_told(told, "waiting for Google Cloud to start 1 tasks")
        while cloud.run.statistics()["calls"]["jobs.run"] < refusals:
            await asyncio.sleep(0.05)
        cloud.run.set_knobs(vcpu_quota=20.0)

    (result,), told = render(cloud, unit(), meanwhile=make_room)

    assert isinstance(result, FrameResult)
    assert result.attempt == 1
    assert told[-1] == ""
    assert all("nothing is billed" in line for line in told if line)
    assert any("quota" in line for line in told)
    assert cloud.run.statistics()["instances"] == 1


@pytest.mark.parametrize(
    ("refuses", "waves"),
    [("", [4]), ("none fits", [4]), ("not all fit", [1, 1, 2])],
    ids=["tasks wait", "refused when full", "refused unless all fit"],
)
def test_a_wave_that_does_not_fit_is_rendered_whatever_google_makes_of_it(
    cloud: GoogleCloud, unit, refuses: str, waves: list[int]
):
    cloud.run.set_knobs(vcpu_quota=3.0, quota_refuses=refuses)

    # All of them in one wave, however slow this machine is.
    patient = replace(HASTE, gather_quiet=2.0)

    results, told = render(
        cloud,
        *(unit(frame) for frame in range(1, 5)),
        pace=patient,
        fleet=replace(FLEET, lean="fastest"),
    )

    assert [type(each) for each in results] == [FrameResult] * 4
    plan = read_plan(GcsStorage(cloud.bucket), JOB)
    assert plan is not None
    assert sorted(wave.tasks for wave in plan.waves) == waves
    assert sum(wave.frames for wave in plan.waves) == 4
    assert all(wave.billed_usd for wave in plan.waves)
    assert cloud.run.statistics()["instances"] == 4
    assert not told or told[-1] == ""


def test_tasks_are_not_waited_for_without_end_that_google_lets_wait(cloud: GoogleCloud, unit):
    cloud.run.set_knobs(vcpu_quota=0.5)

    (result,), _ = render(cloud, unit(), pace=replace(HASTE, park_limit=0.5))

    assert isinstance(result, CloudError)
    assert "has begun none of 1 tasks" in str(result)
    assert "povstorm doctor" in str(result)
    assert cloud.run.statistics()["instances"] == 0


def test_it_is_not_waited_for_without_end(cloud: GoogleCloud, unit):
    cloud.run.set_knobs(vcpu_quota=0.5, quota_refuses="none fits")
    hasty = Pace(gather_quiet=0.05, poll=0.1, park_first=0.1, park_most=0.1, park_limit=0.5)

    (result,), _ = render(cloud, unit(), pace=hasty)

    assert isinstance(result, CloudError)
    assert "not started for" in str(result)
    assert "Google's quota is used up" in str(result)
    assert "povstorm doctor" in str(result)
    assert cloud.run.statistics()["instances"] == 0


def test_tasks_that_google_lets_wait_are_no_slow_frames_and_that_is_told(cloud: GoogleCloud, unit):
    cloud.run.set_knobs(vcpu_quota=0.5)

    async def make_room(told: list[str]) -> None:
        await until_told(told, "waiting for Google Cloud to begin 1 tasks")
        cloud.run.set_knobs(vcpu_quota=20.0)

    (result,), told = render(cloud, unit(), meanwhile=make_room)

    assert isinstance(result, FrameResult)
    assert [bool(line) for line in told] == [True, False]


async def until_refused(told: list[str]) -> None:
    await until_told(told, "may not read their work in the storage")


def test_containers_that_are_let_in_late_cost_no_attempt(cloud: GoogleCloud, unit):
    cloud.project.spread_grants(CONTAINERS, NEVER, "storage.")

    async def have_it_in_force(told: list[str]) -> None:
        await until_refused(told)
        cloud.project.spread_grants(CONTAINERS, 0, "storage.")

    results, told = render(
        cloud, unit(1), unit(2), pace=replace(HASTE, grants=(1.0,) * 9), meanwhile=have_it_in_force
    )

    assert [type(each) for each in results] == [FrameResult] * 2
    assert {each.attempt for each in results if isinstance(each, FrameResult)} == {1}
    assert told[-1] == ""


def test_containers_for_the_video_that_are_let_in_late_cost_no_attempt(cloud: GoogleCloud):
    storage, picture = GcsStorage(cloud.bucket), io.BytesIO()
    Image.new("RGB", (96, 64), (250, 90, 30)).save(picture, "PNG")
    key, checksum = f"{layout.output(JOB)}/still.png", crc32c_of(picture.getvalue())
    storage.write(key, picture.getvalue())
    cloud.project.spread_grants(CONTAINERS, NEVER, "storage.")
    told: list[str] = []
    waves = SegmentWaves(
        [(1, 2)],
        96 * 64,
        storage,
        JOB,
        FLEET,
        Encoding.of(Path("video.mp4"), Fraction(24), "retry"),
        GoogleCloudRun,
        logging.getLogger("test"),
        told.append,
        retries=0,
        pace=SegmentPace(poll=0.1, worth=0.0, grants=(1.0,) * 9),
    )
    with closing(waves):
        for frame in (1, 2):
            waves.frame_is_final(frame, FrameImage(frame, StoredImage(storage, key), checksum))
        (segment,) = waves.stop().values()
        asyncio.run(asyncio.wait_for(until_refused(told), 120))
        cloud.project.spread_grants(CONTAINERS, 0, "storage.")
        assert segment.result(120).stored.frames == 2
    assert told[-1] == ""


def test_containers_that_are_never_let_in_are_few_and_say_what_grants_it(cloud: GoogleCloud, unit):
    cloud.project.spread_grants(CONTAINERS, NEVER, "storage.")

    results, _ = render(
        cloud, *(unit(frame) for frame in range(1, 5)), pace=replace(HASTE, grants=(0.1, 0.1))
    )

    assert {type(each) for each in results} == {CloudError}
    assert "tried 3 times" in str(results[0])
    assert "`terraform apply`" in str(results[0])
    statistics = cloud.run.statistics()
    assert statistics["calls"]["jobs.run"] == 3
    assert statistics["instances"] == 3


def test_an_execution_is_found_among_hundreds_that_come_in_any_order(cloud: GoogleCloud):
    # None of them gets a container.
    cloud.run.set_knobs(vcpu_quota=0.5, run_calls_per_minute=10_000)
    api, job = GoogleCloudRun(), FLEET.job_path(FLEET.jobs[0])
    started = {api.run(job, wave_uri=f"wave/{number}", tasks=1) for number in range(230)}

    found = api.executions(job)

    assert {each.name for each in found} == started
    assert {each.wave_uri for each in found} == {f"wave/{number}" for number in range(230)}
    assert not any(each.has_begun for each in found)


def test_a_frame_goes_on_when_its_task_was_moved_to_another_machine(cloud: GoogleCloud, unit):
    cloud.run.set_knobs(move_after_seconds=2.0, move_notice_seconds=0.5, move_pause_seconds=3.0)

    results, _ = render(cloud, unit(1, SECONDS), unit(2, SECONDS))

    assert [each for each in results if not isinstance(each, FrameResult)] == []


def test_memory_for_which_a_whole_task_was_ended_costs_the_frame_that_needs_it(
    cloud: GoogleCloud, unit
):
    # Its pointers need more than half a gigabyte, and less than two.
    results, _ = render(cloud, unit(1), unit(2, HUNGRY), unit(3))

    assert [each for each in results if not isinstance(each, FrameResult)] == []
    assert isinstance(results[1], FrameResult)
    assert results[1].host.startswith("render-2g-")
