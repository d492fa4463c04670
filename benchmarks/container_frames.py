"""What frames take a task of one vCPU: with POV-Ray's waits and without, one at a time or more.

``python -m benchmarks.container_frames [--frames 24 12] [--size 320x240]`` has light and heavy
frames of the package povray-examples rendered as a task of a wave, by the built image in a
container with one core and the memory of the small render job, from a storage server that takes as
long to answer as a bucket. Frames are rendered one at a time, two at once, and as the entrypoint's
own gate has it. It prints seconds and CPU seconds, the memory that the container held beside what
is expected of it, and what rendering took beside what the plan of a wave expects of that.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.local_throughput import EXAMPLES
from benchmarks.measure import measure
from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.cloud_run.frame_memory import CONTAINER_BYTES, frame_bytes
from povstorm_client.cloud_run.prices_and_limits import TRANSFER_SECONDS, usd
from povstorm_client.cloud_run.wave_share import WaveFrame, WaveShare, write_wave
from povstorm_client.frames.result import FrameResult, FrameStatistics
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.programs.povray_waits import VARIABLE
from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage
from tests.emulators.container.render_container import build_render_container, task_environment
from tests.emulators.gcs.proxy import Faults, GcsProxy
from tests.emulators.gcs.server import GcsServer

ANIMATIONS = {"light": "camera2", "heavy": "fractalzoom"}
# The small render job's: terraform/variables.tf.
MEMORY_MIB = 2048
CORE = 0
WAITS = {"POV-Ray as it is": "off", "without its waits": ""}
AT_ONCE = {"one at a time": 1, "two at once": 2, "as povstorm does": 0}
PROBE = Path(__file__).with_name("task_probe.py")
ROW = "{:<18} {:<17}{:>8}{:>9}{:>8}{:>8}{:>8}{:>8}{:>7}{:>9}{:>9}{:>11}"
COLUMNS = (
    *("at once", "seconds", "ratio", "CPU s", "ratio", "to CPU"),
    *("MiB", "planned", "to plan", "USD/1,000"),
)


@dataclass(frozen=True)
class Task:
    """seconds: of the task, which are billed; cpu: its CPU seconds; peak: bytes that it held."""

    seconds: float
    cpu: float
    peak: int
    results: list[FrameResult]

    @property
    def at_once(self) -> float:
        """Frames that were in work at once, as far as any was."""
        return sum(each.ended - each.started for each in self.results) / self.span

    @property
    def span(self) -> float:
        """Seconds from the first frame's begin to the last one's end."""
        return max(each.ended for each in self.results) - min(each.started for each in self.results)

    @property
    def planned_bytes(self) -> int:
        """The memory that so many frames at once are expected to hold, with their container."""
        peak = max(each.peak_memory_bytes for each in self._taken)
        most = max(
            sum(other.started <= each.started < other.ended for other in self.results)
            for each in self.results
        )
        width, height = self.results[0].width or 0, self.results[0].height or 0
        return CONTAINER_BYTES + most * frame_bytes(width, height, peak)

    @property
    def planned_seconds(self) -> float:
        """The seconds that the plan of a wave expects for the frames, by their CPU time."""
        return sum(each.cpu_seconds + TRANSFER_SECONDS for each in self._taken)

    @property
    def _taken(self) -> list[FrameStatistics]:
        return [each.statistics for each in self.results if each.statistics]


def store_wave(storage: GcsStorage, name: str, size: tuple[int, int], frames: int) -> str:
    """Store a wave of one task; returns its prefix. The job has the animation's name."""
    width, height = size
    settings = RenderSettings(
        scene=f"{name}.pov", width=width, height=height, antialias=0.3, final_frame=frames
    )
    queued, attempts = time.time(), []
    for number in range(1, frames + 1):
        unit = WorkUnit(settings, frame=number)
        unit.add_inline_resource(f"{name}.pov", (EXAMPLES / name / f"{name}.pov").read_bytes())
        unit = unit.assigned(job_id=name, shared_prefix="", offload_prefix=layout.output(name))
        attempts.append(WaveFrame(unit, attempt=1, final_attempt=True, queued_since=queued))
    wave = layout.wave(name, "wave")
    write_wave(storage, wave, [WaveShare(tuple(attempts), frame_timeout=None)])
    return wave


def run_task(storage: GcsStorage, wave: str, server: str, *, at_once: int, waits: str) -> Task:
    """Render all frames of a wave of one task."""
    environment = {**task_environment(storage_emulator=server), VARIABLE: waits}
    memory = f"{MEMORY_MIB}m"
    options = [
        *(f"--cpuset-cpus={CORE}", f"--memory={memory}", f"--memory-swap={memory}"),
        *(f"--volume={PROBE}:/probe.py:ro", "--entrypoint=sh"),
    ]
    # A shell between: the container's first process has the CPU time of the runtime in its account.
    program = 'python3 /probe.py "$0" "$1"; exit $?'
    command = build_render_container().command(
        *("-c", program, f"{storage.uri}/{wave}", str(at_once)),
        environment=environment,
        options=options,
    )
    output = measure(command).output
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    found = next(line["task"] for line in lines if "task" in line)
    results = FrameResults(storage, layout.job_of_wave(wave)).all()
    assert all(each.statistics for each in results), output  # noqa: S101 - else it is no figure
    return Task(results=results, **found)


@contextmanager
def on_other_cores() -> Iterator[None]:
    """What is started meanwhile leaves the task's core to it, if there are others."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, own - {CORE} or own)
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def figures(task: Task, first: Task) -> list[str]:
    """A row's, beside those of the first one."""
    thousand = 1000 / len(task.results) * usd(task.seconds, vcpus=1, memory_mib=MEMORY_MIB)
    return [
        f"{task.at_once:.1f}",
        f"{task.seconds:.1f}",
        f"{task.seconds / first.seconds:.2f}",
        f"{task.cpu:.1f}",
        f"{task.cpu / first.cpu:.2f}",
        f"{task.seconds / task.cpu:.2f}",
        f"{task.peak / 2**20:.0f}",
        f"{task.planned_bytes / 2**20:.0f}",
        f"{task.span / task.planned_seconds:.2f}",
        f"{thousand:.4f}",
    ]


def main() -> None:
    """Print all ways for each animation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs=2, default=(24, 12), metavar=("LIGHT", "HEAVY"))
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--answer", type=float, default=0.05, help="seconds of a call's answer")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    build_render_container()
    with ExitStack() as stack:
        with on_other_cores():
            proxy = stack.enter_context(GcsProxy())
            server = stack.enter_context(GcsServer(proxy))
        os.environ["STORAGE_EMULATOR_HOST"] = server.url
        print(f"{options.size}, one vCPU, the storage answers after {options.answer:g} s")
        for (weight, name), frames in zip(ANIMATIONS.items(), options.frames, strict=True):
            print(ROW.format(f"\n{frames} {weight} frames", "", *COLUMNS))
            first = None
            for waits, at_once in itertools.product(WAITS, AT_ONCE):
                storage = GcsStorage(server.make_bucket())
                wave = store_wave(storage, name, (width, height), frames)
                proxy.set_faults(Faults({"slow": 1.0}, slow_seconds=options.answer))
                task = run_task(
                    storage, wave, server.url, at_once=AT_ONCE[at_once], waits=WAITS[waits]
                )
                proxy.set_faults(Faults())
                first = first or task
                print(ROW.format(waits, at_once, *figures(task, first)), flush=True)


if __name__ == "__main__":
    main()
