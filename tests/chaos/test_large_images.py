"""Images that are sent in parts, by containers that may create objects, while answers are lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from tests.chaos.animation import digest
from tests.e2e.google_cloud import RENDERER, google_cloud
from tests.emulators.gcs.server import GcsServer

# Each pixel's 48 bits are as good as drawn by lot, so that a PNG of them is not smaller.
NOISE = """#version 3.7;
global_settings { assumed_gamma 1 }
camera { orthographic location -z*2 look_at 0 right x*2 up y*2 }
#declare Noise = function(x, y, s) { mod(abs(sin(x*12989.8 + y*78233.1 + s) * 43758.5), 1) };
plane { z, 0
  texture { pigment { average pigment_map {
    [1 function { Noise(x, y, 1) } color_map { [0 rgb 0] [1 rgb x*3] }]
    [1 function { Noise(x, y, 2) } color_map { [0 rgb 0] [1 rgb y*3] }]
    [1 function { Noise(x, y, 3 + clock) } color_map { [0 rgb 0] [1 rgb z*3] }] } }
    finish { ambient 1 diffuse 0 } } }
"""
PARTS_FROM_BYTES = 8 * 2**20


def make_job(cluster: Cluster, frames: int) -> Job:
    job = Job(cluster, "noise", video=None, retries=6)
    settings = RenderSettings(
        scene="noise.pov", width=1250, height=1250, final_frame=frames, options=("+FN16",)
    )
    for frame in range(1, frames + 1):
        unit = WorkUnit(settings, frame=frame)
        unit.add_inline_resource("noise.pov", NOISE)
        job.add_work_unit(unit)
    return job


@pytest.mark.parametrize("twice", [False, True], ids=["delivered once", "delivered twice"])
def test_large_images_arrive_once_and_right_from_who_may_replace_nothing(
    twice: bool, tmp_path: Path
):
    local = make_job(Cluster.local(tmp_path / "local"), 2)
    local.run(show_progress=False)
    right = {frame: digest(image) for frame, image in local.images().items()}
    with GcsServer() as gcs, google_cloud(tmp_path, gcs, run_tasks_twice=twice) as cloud:
        job = make_job(Cluster.from_terraform_outputs(cloud.outputs), 2)
        with cloud.storage.injecting(reset_after=0.1, cut=0.1, unavailable=0.05) as injected:
            job.run(show_progress=False)

        images = job.images()
        assert {frame: digest(image) for frame, image in images.items()} == right
        assert all(len(image) > PARTS_FROM_BYTES for image in images.values())
        assert cloud.storage_calls(RENDERER)["insert part"] >= 2
        assert cloud.storage_calls(RENDERER)["delete"] == 0
        assert injected.total() > 0
