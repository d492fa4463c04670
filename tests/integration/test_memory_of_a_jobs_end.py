"""A job's end holds neither its images nor its frames several times over, whatever their number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage

ROOT = Path(__file__).parents[2]
JOB = "noise"
FRAMES, RENDERED = 1000, 75
# Of a flow's 512 MiB; Prefect, which it has imported beside, takes 96 (test_video_container.py).
MOST_MIB = 512 - 96
END = r"""
import asyncio, json, re, sys
from pathlib import Path
from povstorm_client.storage.folder import FolderStorage
from tasks.report.job_run import JobRun
from tasks.steps.report_step import make_report_page
from tasks.steps.statistics_step import make_statistics
from tests.synthetic_job import START, failed, make_manifest, make_units, rendered

folder, job, frames, images = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
storage = FolderStorage(Path(folder))
units = make_units(job, frames, width=1920, height=1080)
manifest = make_manifest(job, frames)
results = [
    rendered(unit, started=START, seconds=5.0)
    if unit.frame <= images
    else failed(unit, started=START, error="no such include")
    for unit in units
]


async def end() -> None:
    statistics = await make_statistics(
        storage, manifest, results, video=None, started=START, ended=START + 60
    )
    run = JobRun(manifest, units, results, statistics, completed=False, message="")
    await make_report_page(storage, run)


asyncio.run(end())
# Not ru_maxrss, which begins at that of the process that started this one (getrusage(2)).
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text("ascii"))[1]) // 1024)
"""


def peak_mib(storage: FolderStorage, frames: int, images: int) -> int:
    """Of a process that makes a job's statistics and report, and does nothing else."""
    command = [sys.executable, "-c", END, storage.root, JOB, str(frames), str(images)]
    done = subprocess.run(
        [*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_report_and_statistics_of_1080p_noise_stay_within_512_mib(storage: FolderStorage):
    noise = storage.root / "noise.png"
    Image.frombytes("RGB", (1920, 1080), os.urandom(1920 * 1080 * 3)).save(noise, compress_level=1)
    output = storage.path(layout.output(JOB))
    output.mkdir(parents=True)
    for frame in range(1, RENDERED + 1):
        os.link(noise, output / f"frame_{frame:04d}.png")
    # All of them together do not fit.
    assert noise.stat().st_size * RENDERED > MOST_MIB * 2**20

    assert peak_mib(storage, FRAMES, RENDERED) < MOST_MIB

    page = storage.read(layout.report(JOB))
    assert page.count(b"data:image/webp") + page.count(b"UklGR") >= RENDERED
    stored = json.loads(storage.read(layout.statistics(JOB)))
    assert (stored["frames_rendered"], stored["frames_failed"]) == (RENDERED, FRAMES - RENDERED)


def test_report_and_statistics_of_many_frames_take_little_more_than_their_results(
    storage: FolderStorage,
):
    few, many = peak_mib(storage, 1, 0), peak_mib(storage, 20_000, 0)
    # Units, results, what is stored of them, and the page.
    assert many - few < 180
