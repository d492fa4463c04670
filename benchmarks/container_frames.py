"""What POV-Ray's waits cost a task of one vCPU, and what a task is without them.

``python -m benchmarks.container_frames [--frames 24] [--size 320x240]`` renders frames of
animations of the package povray-examples, light and heavy, as one task of a wave: by the
container's entrypoint, on one core, with the library that ends POV-Ray's waits and without it. It
prints the seconds that are billed, beside the CPU seconds that the task takes, and how many frames
were in work at once, each with POV-Ray's memory.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.local_throughput import EXAMPLES
from benchmarks.measure import measure
from povstorm_client import Cluster, RenderSettings, WorkUnit
from povstorm_client.cloud_run.prices_and_limits import usd
from povstorm_client.cloud_run.wave_share import WaveFrame, WaveShare, write_wave
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.programs.povray_waits import VARIABLE
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from tests.emulators.container.render_container import task_environment

ANIMATIONS = {"light": "camera2", "heavy": "fractalzoom"}
MEMORY_MIB = 2048
ROW = "{:<7}{:<26}{:>9}{:>9}{:>9}{:>9}{:>11}{:>10}"


@dataclass(frozen=True)
class Task:
    """seconds: of the task, which are billed; cpu: its CPU seconds; at_once: frames in work."""

    seconds: float
    cpu: float
    at_once: float


def store_wave(storage: Storage, name: str, size: tuple[int, int], frames: int) -> str:
    """Store a wave of one task; returns its prefix. The job has the animation's name."""
    width, height = size
    settings = RenderSettings(
        scene=f"{name}.pov", width=width, height=height, antialias=0.3, final_frame=frames
    )
    units = []
    for number in range(1, frames + 1):
        unit = WorkUnit(settings, frame=number)
        unit.add_inline_resource(f"{name}.pov", (EXAMPLES / name / f"{name}.pov").read_bytes())
        units.append(
            unit.assigned(job_id=name, shared_prefix="", offload_prefix=layout.output(name))
        )
    queued = time.time()
    frames_of_task = tuple(
        WaveFrame(unit, attempt=1, final_attempt=True, queued_since=queued) for unit in units
    )
    wave = layout.wave(name, "wave")
    write_wave(storage, wave, [WaveShare(frames_of_task, frame_timeout=None)])
    return wave


def run_task(name: str, size: tuple[int, int], frames: int, waits: str) -> Task:
    """Render all of them in a new storage, on one core."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster.local(Path(folder) / "storage")
        wave = store_wave(cluster.storage, name, size, frames)
        taken = measure(
            [
                sys.executable,
                "-P",
                "-m",
                "render_image.entrypoint",
                f"{cluster.storage.uri}/{wave}",
            ],
            environment={**task_environment(storage_emulator=""), VARIABLE: waits},
        )
        results = FrameResults(cluster.storage, name).all()
    assert len(results) == frames, taken.output  # noqa: S101 - else it is no figure
    busy = sum(result.ended - result.started for result in results)
    return Task(taken.wall, taken.cpu, busy / taken.wall)


def main() -> None:
    """Print both ways for each animation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", default="320x240")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    # As the container of one vCPU; this process and all that it starts.
    psutil.Process(os.getpid()).cpu_affinity([0])
    title = f"frames of {options.size}, one vCPU"
    columns = ("seconds", "CPU s", "to CPU", "at once", "USD/1,000", "to waits")
    print(ROW.format(f"{options.frames}", title, *columns))
    for weight, name in ANIMATIONS.items():
        with_waits = 0.0
        for words, waits in (("POV-Ray as it is", "off"), ("without its waits", "")):
            task = run_task(name, (width, height), options.frames, waits)
            with_waits = with_waits or task.seconds
            thousand = 1000 / options.frames * usd(task.seconds, vcpus=1, memory_mib=MEMORY_MIB)
            figures = (
                f"{task.seconds:.1f}",
                f"{task.cpu:.1f}",
                f"{task.seconds / task.cpu:.2f}",
                f"{task.at_once:.1f}",
                f"{thousand:.4f}",
                f"{task.seconds / with_waits:.2f}",
            )
            print(ROW.format(weight, words, *figures), flush=True)


if __name__ == "__main__":
    main()
