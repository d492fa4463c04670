"""A job's end in the flow's image, with 512 MiB and no disk: neither grows with its frames.

The image is that of deployments/Dockerfile, Prefect in it; its root is read-only, and what a flow
writes to is in the memory that it has, as on Cloud Run. Its storage is a bucket.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage
from tests.deep.job_end import JOB, EndOfJob, words_of
from tests.emulators.container.built_image import BuiltImage
from tests.emulators.gcs.server import GcsServer

ROOT = Path(__file__).parents[2]
MEMORY_MIB = 512
LIMITS = (f"--memory={MEMORY_MIB}m", f"--memory-swap={MEMORY_MIB}m", "--cpuset-cpus=0")
HD = {"width": 1920, "height": 1080}


@pytest.fixture
def ended(gcs_server: GcsServer, gcs_storage: GcsStorage, flow_image: BuiltImage):
    """A function that runs a job's end in the image, and returns what that tells."""

    def run(job: EndOfJob) -> dict[str, Any]:
        for number in range(job.images):
            pixels = os.urandom(job.width * job.height * 3)
            made = io.BytesIO()
            Image.frombytes("RGB", (job.width, job.height), pixels).save(
                made, "PNG", compress_level=1
            )
            gcs_storage.write(f"{layout.output(JOB)}/image_{number}.png", made.getvalue())
        command = flow_image.command(
            "python",
            *words_of(gcs_storage.uri.removeprefix("gs://"), job),
            environment={"STORAGE_EMULATOR_HOST": gcs_server.url, "PYTHONPATH": "/checkout"},
            options=(
                *(*LIMITS, "--tmpfs=/home/povstorm:mode=1777"),
                f"--volume={ROOT / 'tests'}:/checkout/tests:ro",
            ),
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # 137: there was no memory left.
        assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"
        told = json.loads(done.stdout.splitlines()[-1])
        print(f"{job}: {told['steps']}", file=sys.stderr)
        return told

    return run


def test_a_thousand_frames_of_1080p_noise_have_their_video_statistics_and_report(
    ended, gcs_storage: GcsStorage
):
    # Of images, more than ten times the memory.
    told = ended(EndOfJob(1000, **HD, images=3))

    assert (told["video"]["frames"], told["video"]["width"], told["video"]["codec"]) == (
        1000,
        1920,
        "h264",
    )
    assert pictures_of(gcs_storage) >= 500
    assert statistics_of(gcs_storage)["frames_rendered"] == 1000
    assert list(gcs_storage.list(layout.segments(JOB))) == []


@pytest.mark.parametrize(("video", "codec", "frames"), [("gif", "gif", 150), ("mkv", "h264", 150)])
def test_what_is_no_mp4_of_1080p_noise_is_streamed_as_well(
    video: str, codec: str, frames: int, ended, gcs_storage: GcsStorage
):
    """One ffmpeg makes all of a gif; another joins Matroska, all of which passes through it."""
    told = ended(EndOfJob(frames, **HD, images=3, video=video))

    assert (told["video"]["frames"], told["video"]["codec"]) == (frames, codec)
    stored = gcs_storage.stat(layout.video(JOB, video))
    assert stored is not None
    assert stored.size == told["video"]["bytes"]


def test_twenty_thousand_frames_have_their_statistics_and_report(ended, gcs_storage: GcsStorage):
    ended(EndOfJob(20_000, 160, 120, images=50, video="", fails=10))

    assert pictures_of(gcs_storage) >= 500
    told = statistics_of(gcs_storage)
    assert (told["frames_rendered"], told["frames_failed"]) == (18_000, 2_000)


def pictures_of(storage: GcsStorage) -> int:
    """How many frames the report shows: of a long job 500, and the slowest."""
    return storage.read(layout.report(JOB)).count(b"UklGR")


def statistics_of(storage: GcsStorage) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(storage.read(layout.statistics(JOB)))
    return found


def test_a_process_that_holds_more_is_ended(flow_image: BuiltImage):
    command = flow_image.command(
        "python", "-c", f"len(b'1' * ({MEMORY_MIB} << 20))", options=LIMITS
    )
    assert subprocess.run(command, capture_output=True, check=False).returncode == 137
