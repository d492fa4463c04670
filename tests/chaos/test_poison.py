"""Frames that fail always, never end, or eat memory cost themselves only, here and on Cloud Run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from povstorm_client import Cluster, Job, JobError, RenderSettings, WorkUnit
from tests.conftest import SPHERE
from tests.e2e.google_cloud import google_cloud
from tests.emulators.gcs.server import GcsServer

POISON = '#version 3.7;\n#error "poison"\n'
STUCK = "#version 3.7;\n#while (1) #end\n"
HUNGRY = "#version 3.7;\n#declare A = array[400000000];\n#while (1) #end\n"


@pytest.fixture(params=["local", "cloud"])
def cluster(request, tmp_path: Path) -> Iterator[Cluster]:
    if request.param == "local":
        yield Cluster.local(tmp_path / "storage")
        return
    with GcsServer() as gcs, google_cloud(tmp_path, gcs) as cloud:
        yield Cluster.from_terraform_outputs(cloud.outputs)


def make_job(cluster: Cluster, scenes: dict[int, str], frames: int, **options) -> Job:
    job = Job(cluster, "poison", video=None, **options)
    settings = RenderSettings(scene="a.pov", width=32, height=24, final_frame=frames)
    for frame in range(1, frames + 1):
        unit = WorkUnit(settings, frame=frame)
        unit.add_inline_resource("a.pov", scenes.get(frame, SPHERE))
        job.add_work_unit(unit)
    return job


def test_bad_frames_cost_themselves_only(cluster: Cluster):
    # Memory is limited here; on Cloud Run it is the container's (test_google_cloud_containers.py).
    is_local = cluster.outputs is None
    scenes = {2: POISON, 5: STUCK} | ({7: HUNGRY} if is_local else {})
    options = {"frame_memory": 256 * 2**20} if is_local else {}
    job = make_job(cluster, scenes, 9, frame_timeout=6, retries=1, **options)

    with pytest.raises(JobError) as error:
        job.run(show_progress=False)

    assert error.value.failed_frames == tuple(scenes)
    assert sorted(job.images()) == [frame for frame in range(1, 10) if frame not in scenes]
    results = {result.frame: result for result in job.results()}
    assert "poison" in results[2].error
    assert results[2].attempt == 1  # it would fail again
    assert "stopped after 6 s" in results[5].error
    assert results[5].attempt == 2
    if is_local:
        assert "memory" in results[7].error


def test_the_same_parse_error_on_several_frames_stops_the_job(cluster: Cluster):
    job = make_job(cluster, dict.fromkeys(range(1, 61), POISON), 60)
    with pytest.raises(JobError, match=r"60 of 60 frames were not rendered.*poison"):
        job.run(show_progress=False)
    assert len(job.results()) < 60
