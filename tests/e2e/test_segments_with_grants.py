"""A video's segments on Google Cloud, where each account may do what terraform grants and no more.

Containers are lost, what they have stored is, and whoever started them is killed: the video is the
one that is encoded here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from povstorm_client import Cluster
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.video.segments import plan_segments
from tests.e2e.google_cloud import RENDERER, GoogleCloud, google_cloud
from tests.emulators.gcs.server import GcsServer
from tests.integration.test_segment_waves import (
    FRAMES,
    JOB,
    LOST_BEFORE,
    encoded_there,
    lost,
    segment_waves,
    store_images,
    told,
    video,
)

__all__ = ["lost"]

SEGMENTS = len(plan_segments(FRAMES))
# Encodes all segments by containers, and joins nothing.
FLOW = """
import sys
from povstorm_client import Cluster
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.storage.bucket import GcsStorage
from tests.integration.test_segment_waves import segment_waves, stored_images, told

cluster, storage = Cluster.from_terraform_outputs(sys.argv[1]), GcsStorage(sys.argv[2])
with segment_waves(storage, on=cluster.fleet(JobSettings())) as waves:
    told(waves, stored_images(storage))
    for future in waves.stop().values():
        future.result()
    print("all are stored", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def cloud(tmp_path: Path, gcs: GcsServer, lost) -> Iterator[GoogleCloud]:
    command = (sys.executable, "-P", "-c", LOST_BEFORE)
    with google_cloud(tmp_path, gcs, command, {"BESIDE": str(tmp_path)}) as cloud:
        yield cloud


@pytest.fixture
def cluster(cloud: GoogleCloud) -> Cluster:
    return Cluster.from_terraform_outputs(cloud.outputs)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The video as it is encoded without containers."""
    storage = FolderStorage(tmp_path_factory.mktemp("here"))
    return video(storage, store_images(storage))


def test_lost_containers_and_lost_parts_cost_attempts_and_no_frame(
    cloud: GoogleCloud, cluster: Cluster, here: bytes, lost
):
    images = store_images(cluster.storage)
    lost(1)
    with segment_waves(cluster.storage, on=cluster.fleet(JobSettings())) as waves:
        told(waves, images)
        assert encoded_there(waves) == [True] * SEGMENTS
        stored = [entry.key for entry in cluster.storage.list(layout.segments(JOB))]
        cluster.storage.remove(next(key for key in stored if not key.endswith(".json")))
        assert video(cluster.storage, images, waves) == here

    assert len(cluster.executions(JOB)) > 1
    asked = cloud.storage.asked_by[RENDERER]
    # A part and a record each: by whom a part was lost it was encoded again.
    assert asked["insert jobs/segments"] == 2 * SEGMENTS
    calls = cloud.storage_calls(RENDERER)
    assert (calls["list"], calls["delete"]) == (0, 0)


@pytest.mark.parametrize("killed", ["when its wave has started", "between segments and join"])
def test_a_killed_flows_segments_are_taken_over(
    killed: str, cloud: GoogleCloud, cluster: Cluster, here: bytes, tmp_path: Path
):
    images = store_images(cluster.storage)
    waits = tmp_path / "lost" / "wait"
    if killed == "when its wave has started":
        waits.touch()
    with subprocess.Popen(
        [sys.executable, "-c", FLOW, str(cloud.outputs), cloud.bucket],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as flow:
        if waits.exists():
            while not cluster.executions(JOB):
                assert flow.poll() is None
        else:
            assert flow.stdout.readline() == "all are stored\n"
        flow.kill()
    started = [each.name for each in cluster.executions(JOB)]

    with segment_waves(cluster.storage, on=cluster.fleet(JobSettings())) as waves:
        told(waves, images)
        ready = waves.stop()
        waits.unlink(missing_ok=True)
        assert [future.exception() for future in ready.values()] == [None] * SEGMENTS
        assert video(cluster.storage, images, waves) == here

    assert [each.name for each in cluster.executions(JOB)] == started
    assert cloud.storage.asked_by[RENDERER]["insert jobs/segments"] == 2 * SEGMENTS
