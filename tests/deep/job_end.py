"""``python -m tests.deep.job_end BUCKET REQUEST``: what a flow does after a job's last frame.

test_flow_image.py runs it in the flow's image: video, statistics and report, as the tasks' steps
make them, of a job in the bucket whose frames show the images that are there. REQUEST is JSON
(EndOfJob). It prints JSON: the video's facts, and of each step its seconds and the most memory that
the container held, in MiB.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage
from tasks.report.job_run import JobRun
from tasks.steps.report_step import make_report_page
from tasks.steps.statistics_step import make_statistics
from tasks.steps.video_step import make_video
from tests.synthetic_job import START, failed, make_manifest, make_units, rendered

JOB = "noise"
# Of version 2 of the kernel's control groups, and of version 1: what cannot be taken back from
# processes, and what is in file systems in memory.
_MEMORY = {
    Path("/sys/fs/cgroup/memory.stat"): ("anon", "shmem"),
    Path("/sys/fs/cgroup/memory/memory.stat"): ("total_rss", "total_shmem"),
}
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class EndOfJob:
    """A job of so many frames of a size in pixels, of which every ``fails``-th has failed.

    images: so many are in the job's output, ``image_N.png``; each is shown for ``held`` frames, one
    after another. video: its ending, "" for none.
    """

    frames: int
    width: int
    height: int
    images: int
    held: int = 20
    video: str = "mp4"
    fails: int = 0

    def image_of(self, frame: int) -> str:
        return f"image_{frame // self.held % self.images}.png"


async def _end(bucket: str, job: EndOfJob) -> dict[str, object]:
    storage = GcsStorage(bucket)
    settings = JobSettings(video=job.video or None, allow_missing_frames=True)
    manifest = make_manifest(JOB, job.frames, settings=settings)
    units = make_units(JOB, job.frames, width=job.width, height=job.height)
    stored = {entry.key: entry.crc32c for entry in storage.list(layout.output(JOB))}

    def result(unit_number: int) -> FrameResult:
        unit = units[unit_number]
        if job.fails and unit.frame % job.fails == 0:
            return failed(unit, started=START, error="no such include")
        image = job.image_of(unit.frame)
        crc32c = stored[f"{layout.output(JOB)}/{image}"]
        started = START + unit.frame
        return rendered(unit, started=started, seconds=5.0, image=image, image_crc32c=crc32c)

    results = [result(number) for number in range(job.frames)]
    steps: dict[str, dict[str, float]] = {}
    video = None
    if job.video:
        with _measured(steps, "video"):
            video = await make_video(storage, manifest, results, lambda _frames: None, {})
    with _measured(steps, "statistics"):
        statistics = await make_statistics(
            storage, manifest, results, video=video, started=START, ended=START + job.frames
        )
    with _measured(steps, "report"):
        run = JobRun(manifest, units, results, statistics, completed=True, message="")
        await make_report_page(storage, run)
    return {"video": video, "steps": steps}


@contextmanager
def _measured(steps: dict[str, dict[str, float]], what: str) -> Iterator[None]:
    """Note how long the block takes, and the most memory that looks at it find."""
    ended = threading.Event()
    step = steps[what] = {"seconds": 0.0, "mib": 0.0}

    def look() -> None:
        file, names = next((file, names) for file, names in _MEMORY.items() if file.exists())
        while True:
            told = dict(line.split() for line in file.read_text("ascii").splitlines())
            step["mib"] = max(step["mib"], sum(int(told[name]) for name in names) >> 20)
            if ended.wait(_LOOK_SECONDS):
                return

    begun = time.monotonic()
    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        ended.set()
        looking.join()
    step["seconds"] = round(time.monotonic() - begun, 1)


def main(bucket: str, request: str) -> None:
    """As a flow that has imported Prefect and what it runs."""
    import flows.render_job  # noqa: F401 - for what it holds

    print(json.dumps(asyncio.run(_end(bucket, EndOfJob(**json.loads(request))))))


def words_of(bucket: str, job: EndOfJob) -> list[str]:
    """The command's words after ``python``."""
    return ["-m", "tests.deep.job_end", bucket, json.dumps(asdict(job))]


if __name__ == "__main__":
    main(*sys.argv[1:])
