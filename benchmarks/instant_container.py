"""A render container that renders nothing: it stores a log, an image and a result a frame.

benchmarks/api_calls.py has the Cloud Run stand-in run it, to count what is asked around rendering.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from povstorm_client.cloud_run.wave_share import WaveFrame, open_wave, read_share
from povstorm_client.frames.result import FrameResult, FrameStatistics
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import CALLS_AT_ONCE
from render_image.frame_queue import FrameQueue
from render_image.machine import host_name

STATISTICS = FrameStatistics(0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 2**26, 1, None, None, 1)


def main() -> None:
    """Store results for the share of this task."""
    storage, wave = open_wave(sys.argv[1])
    task_index = int(os.environ["CLOUD_RUN_TASK_INDEX"])
    share = read_share(storage, wave, task_index)
    queue = FrameQueue(storage, wave, task_index, share)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "povray.txt"
        log.write_text("nothing was rendered\n")
        # The report makes a preview of it, as of any other.
        image = Path(folder) / "image.png"
        Image.new("L", (32, 24)).save(image)

        def store(frame: WaveFrame) -> None:
            unit, now = frame.unit, time.time()
            storage.upload(layout.log(unit.job_id, unit.work_unit_id), log)
            checksum = storage.upload(f"{unit.offload_gcs_prefix}/{unit.image_name}", image)
            FrameResults(storage, unit.job_id).commit(
                FrameResult(
                    work_unit_id=unit.work_unit_id,
                    job_id=unit.job_id,
                    frame=unit.frame,
                    state="rendered",
                    attempt=frame.attempt,
                    host=host_name(),
                    started=now,
                    ended=now,
                    image=unit.image_name,
                    image_bytes=image.stat().st_size,
                    image_crc32c=checksum,
                    statistics=FrameStatistics(
                        0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 3.0, 2**26, 1, None, None, 1
                    ),
                    container_image=share.container_image,
                ),
            )

        async def work() -> None:
            while frame := await queue.next_own() or await queue.next_of_others():
                await asyncio.to_thread(store, frame)

        async def work_at_once() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(CALLS_AT_ONCE):
                    group.create_task(work())

        asyncio.run(work_at_once())


if __name__ == "__main__":
    main()
