"""A client program gets images, video and statistics; what did not change is not rendered again."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from povstorm_client import Cluster, InputError, Job, RenderSettings, WorkUnit
from tests.recording import until_recorded

FRAMES = 3
SCENE = '#include "ball.inc"\n#include "place.inc"\nobject { ball translate place }\n'
BALL = """#version 3.7;
global_settings { assumed_gamma 1 }
camera { location -5*z look_at 0 }
#declare ball = sphere { 0, 1 pigment { rgb %s } finish { emission 1 } };
"""


def make_job(cluster: Cluster, folder: Path, *, colour: str = "<1,0,0>", moved: int = 0) -> Job:
    """Frames of a ball: its looks are shared, its place is each frame's own."""
    folder.mkdir(exist_ok=True)
    (folder / "ball.inc").write_text(BALL % colour)
    (folder / "scene.pov").write_text(SCENE)
    job = Job(cluster, "ball", fps=10)
    job.add_shared_resources(folder)
    settings = RenderSettings(
        scene="shared/scene.pov", width=33, height=24, final_frame=FRAMES, library_paths=("shared",)
    )
    for frame in range(1, FRAMES + 1):
        unit = WorkUnit(settings, frame=frame)
        shift = 0.5 if frame == moved else 0
        unit.add_inline_resource("place.inc", f"#declare place = <{frame - 2 + shift}, 0, 0>;\n")
        job.add_work_unit(unit)
    return job


def from_cache(job: Job) -> list[bool]:
    return [result.cache_hit for result in job.results()]


def test_images_video_and_statistics_and_a_cache_that_outlives_processes(
    cluster: Cluster, tmp_path: Path
):
    job = make_job(cluster, tmp_path / "scene")
    job.run(show_progress=False)
    assert from_cache(job) == [False] * FRAMES

    images = job.save_images(tmp_path / "images")
    assert [image.name for image in images] == ["frame_1.png", "frame_2.png", "frame_3.png"]
    for path, column in zip(images, (9, 16, 23), strict=True):
        with Image.open(path) as image:
            assert image.size == (33, 24)
            pixel = image.convert("RGB").getpixel((column, 12))
            assert pixel[0] > 200
            assert pixel[1] < 50
    assert job.save_video(tmp_path / "ball.mp4").stat().st_size > 0
    with pytest.raises(InputError, match=r"is mp4, not \.webm"):
        job.save_video(tmp_path / "ball.webm")

    same = make_job(cluster, tmp_path / "scene")
    same.run(show_progress=False)
    assert from_cache(same) == [True] * FRAMES
    assert same.images() == job.images()

    one_moved = make_job(cluster, tmp_path / "scene", moved=2)
    one_moved.run(show_progress=False)
    assert from_cache(one_moved) == [True, False, True]

    repainted = make_job(cluster, tmp_path / "scene", colour="<0,1,0>")
    repainted.run(show_progress=False)
    assert from_cache(repainted) == [False] * FRAMES

    # Others have taken the first job's frames over: without its images the cache speaks of theirs.
    cluster.storage.delete(f"jobs/{job.job_id}")
    assert len(same.images()) == FRAMES
    again = make_job(cluster, tmp_path / "scene")
    again.run(show_progress=False)
    assert from_cache(again) == [True] * FRAMES
    assert len(again.images()) == FRAMES


def test_prefects_embedded_server_is_enough(sphere_job, told: None):
    job = sphere_job(frames=2)
    job.run(show_progress=False)
    assert sorted(job.images()) == [1, 2]
    state = until_recorded(job)
    assert (state.phase, state.unrecorded) == ("completed", "")
