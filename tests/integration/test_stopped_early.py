"""A job that is stopped at any moment of its start leaves nothing that keeps its process alive."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path

import pytest

from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.storage.folder import FolderStorage
from tasks.report.previews_ahead import previews_ahead
from tasks.video.job_video import video_ahead
from tests.synthetic_job import make_manifest

THREADS = ("povstorm-segments", "povstorm-previews")
_SECONDS = 60.0


def ahead_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in THREADS]


@pytest.mark.parametrize("again", [False, True], ids=["told once", "told twice"])
@pytest.mark.parametrize("moment", range(6))
def test_what_works_ahead_ends_whenever_its_job_is_stopped(
    moment: int, again: bool, tmp_path: Path
):
    storage = FolderStorage(tmp_path)
    manifest = make_manifest("orbit-1", 24, settings=JobSettings(video="mp4"))

    async def work() -> None:
        async with (
            video_ahead(storage, manifest, 64 * 48, "", logging.getLogger("test"), print),
            previews_ahead(storage, manifest),
        ):
            await asyncio.Event().wait()

    async def stopped() -> None:
        working = asyncio.ensure_future(work())
        for _ in range(moment):
            await asyncio.sleep(0)
        working.cancel()
        if again:
            await asyncio.sleep(0)
            working.cancel()
        await asyncio.wait({working})
        assert working.cancelled()

    asyncio.run(stopped())

    deadline = time.monotonic() + _SECONDS
    while ahead_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ahead_threads() == []
