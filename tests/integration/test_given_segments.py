"""A container that was started ahead of its segments, with the rights of the renderer's account."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from povstorm_client.cloud_run.given_segments import Gift, give
from povstorm_client.cloud_run.wave_share import SegmentImage, SegmentWork, WaveShare, write_wave
from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage
from povstorm_client.storage.checksum import crc32c_of
from render_image.video import encode_share
from tests.emulators.gcs.proxy import GcsProxy
from tests.emulators.gcs.server import GcsServer
from tests.emulators.iam.policy import Grant

JOB = "orbit-1"
WAVE = layout.wave(JOB, "v0001-test")
# As terraform grants it: what is not there is refused as well.
RENDERER = [Grant("objects.get", "jobs/"), Grant("objects.create", "jobs/")]


@dataclass
class Bucket:
    """storage: as the flow's account has it; proxy: before what containers see."""

    storage: GcsStorage
    proxy: GcsProxy

    def container(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "render_image.entrypoint", f"{self.storage.uri}/{WAVE}"],
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "STORAGE_EMULATOR_HOST": self.proxy.url,
                "CLOUD_RUN_TASK_INDEX": "0",
            },
        )

    def segments(self) -> int:
        """How many are stored."""
        keys = (entry.key for entry in self.storage.list(layout.segments(JOB)))
        return sum(key.endswith(".json") for key in keys)

    def looked(self) -> int:
        """How often a container looked for what it is given."""
        return sum(count for asked, count in self.proxy.asked.items() if "waves/given" in asked)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with GcsProxy() as proxy, GcsServer(proxy) as gcs:
        proxy.grants = {"": RENDERER}
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.upstream)
        yield Bucket(GcsStorage(gcs.make_bucket()), proxy)


def work(storage: GcsStorage, folder: Path, *frames: int) -> SegmentWork:
    images = []
    for frame in frames:
        Image.new("RGB", (96, 64), (30 * frame, 90, 30)).save(folder / "frame.png")
        key = f"{layout.output(JOB)}/frame_{frame}.png"
        data = (folder / "frame.png").read_bytes()
        storage.write(key, data)
        images.append(SegmentImage(frame, key, crc32c_of(data)))
    return SegmentWork(tuple(images), "mp4", "24", has_alpha=False)


def ended(container: subprocess.Popen[str]) -> list[dict[str, str]]:
    """Its log, once it has ended well."""
    output, _ = container.communicate(timeout=300)
    assert container.returncode == 0, output
    return [json.loads(line) for line in output.splitlines()]


def test_it_encodes_what_it_is_given_until_it_is_told_that_nothing_more_comes(
    bucket: Bucket, tmp_path: Path
):
    storage = bucket.storage
    write_wave(storage, WAVE, [WaveShare((), None, patience=600.0)])
    with bucket.container() as container:
        while not bucket.looked():
            assert container.poll() is None
            time.sleep(0.05)
        for number, frames in enumerate([(1, 2), (3,)]):
            assert give(storage, WAVE, 0, number, Gift(work(storage, tmp_path, *frames)))
            while bucket.segments() <= number:
                assert container.poll() is None
                time.sleep(0.05)
        give(storage, WAVE, 0, 2, Gift(None))
        lines = ended(container)
    assert [line["message"] for line in lines] == [
        "frames 1 to 2 of the video encoded",
        "frames 3 to 3 of the video encoded",
    ]
    inserted = bucket.proxy.asked["insert jobs/segments"]

    # Delivered twice, as Cloud Run may: the other container finds what is there.
    with bucket.container() as container:
        assert ended(container) == lines
    assert bucket.proxy.asked["insert jobs/segments"] == inserted


def test_it_ends_well_when_nothing_comes(bucket: Bucket):
    write_wave(bucket.storage, WAVE, [WaveShare((), None, patience=1.5)])
    with bucket.container() as container:
        assert ended(container) == []
    assert 1 <= bucket.looked() <= 4


def test_what_it_waits_for_one_it_does_not_wait_for_the_next(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clock, stopped = SimpleNamespace(now=0.0), threading.Event()
    monkeypatch.setattr(encode_share, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def wait(seconds: float) -> bool:
        clock.now += seconds
        if clock.now == 40.0:
            give(bucket.storage, WAVE, 0, 0, Gift(work(bucket.storage, tmp_path, 1)))
        return False

    monkeypatch.setattr(stopped, "wait", wait)
    segments = encode_share.given_segments(bucket.storage, WAVE, 0, 60.0, stopped)
    assert next(segments).images[0].frame == 1
    clock.now += 100.0  # in which it is encoded
    assert list(segments) == []
    assert clock.now == 160.0


def test_it_takes_no_image_of_another_job(bucket: Bucket, tmp_path: Path):
    storage = bucket.storage
    write_wave(storage, WAVE, [WaveShare((), None, patience=600.0)])
    stranger = work(storage, tmp_path, 1)
    stranger = SegmentWork(
        (SegmentImage(1, "jobs/other-1/output/frame_1.png", stranger.images[0].crc32c),),
        *("mp4", "24"),
        has_alpha=False,
    )
    give(storage, WAVE, 0, 0, Gift(stranger))
    with bucket.container() as container:
        output, _ = container.communicate(timeout=300)
    assert container.returncode == 1
    assert "is none of its job" in output
    assert bucket.segments() == 0
