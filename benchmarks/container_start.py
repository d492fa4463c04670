"""What a container's start costs: CPU seconds from its first instruction to the first POV-Ray.

``python -m benchmarks.container_start [--runs 10]`` renders a wave of a few small frames from a
storage server, in the built image and outside of it, and prints the user and system seconds of the
entrypoint, and of what it has waited for (``povray --version`` is one), when the first frame's
process starts. Every array task pays that. Aim: at most 0.4 s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import measure
from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.cloud_run.wave_share import WaveFrame, WaveShare, write_wave
from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage
from povstorm_client.storage.protocol import Storage
from tests.emulators.container.render_container import build_render_container, task_environment
from tests.emulators.gcs.server import GcsServer

AIM_SECONDS = 0.4
# They are begun together, so that they wait for each other.
FRAMES = 4
PROBE = Path(__file__).with_name("first_povray.py")
ROW = "{:24} {:>6} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}"
SCENE = (
    "camera { location -4*z look_at 0 } light_source { -9*z 1 } sphere { 0, 1 pigment { rgb 1 } }"
)


def small_wave(storage: Storage) -> str:
    """Store a wave of one task with a few frames; returns its uri."""
    job_id = "container-start"
    settings = RenderSettings(scene="sphere.pov", width=32, height=24, final_frame=FRAMES)
    frames = []
    for number in range(1, FRAMES + 1):
        unit = WorkUnit(settings, frame=number)
        unit.add_inline_resource("sphere.pov", SCENE)
        unit = unit.assigned(job_id=job_id, shared_prefix="", offload_prefix=layout.output(job_id))
        frames.append(WaveFrame(unit, attempt=1, final_attempt=True, queued_since=time.time()))
    wave = layout.wave(job_id, "wave")
    write_wave(storage, wave, [WaveShare(tuple(frames), frame_timeout=None)])
    return f"{storage.uri}/{wave}"


def in_the_container(wave: str, environment: dict[str, str]) -> list[str]:
    """The command that runs the probe in a container with a read-only root."""
    # A shell between: the container's first process has the CPU time of the runtime in its account.
    program = 'python3 /probe.py "$0"; exit $?'
    options = [f"--volume={PROBE}:/probe.py:ro", "--entrypoint=sh"]
    return build_render_container().command(
        "-c", program, wave, environment=environment, options=options
    )


def first_povray(command: Sequence[str], environment: dict[str, str]) -> dict[str, float]:
    """What the probe prints."""
    output = measure(command, environment=environment).output
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    found: dict[str, float] = next(line for line in lines if "first_povray" in line)["first_povray"]
    return found


def main() -> None:
    """Measure both ways in turn, and print them next to the aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()
    with GcsServer() as server:
        os.environ["STORAGE_EMULATOR_HOST"] = server.url
        wave = small_wave(GcsStorage(server.make_bucket()))
        environment = task_environment(storage_emulator=server.url)
        ways = {
            "in the container": in_the_container(wave, environment),
            "outside of it": [sys.executable, "-P", str(PROBE), wave],
        }
        taken: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(arguments.runs + 1):
            for way, command in ways.items():
                taken[way].append(first_povray(command, environment))
    print(ROW.format("", "runs", "CPU min", "median", "max", "user", "system", "wall"))
    for way, runs in taken.items():
        measured = runs[1:]  # the first one reads everything from disk
        cpu = sorted(run["user"] + run["system"] for run in measured)
        figures = (
            cpu[0],
            statistics.median(cpu),
            cpu[-1],
            *(
                statistics.median(run[kind] for run in measured)
                for kind in ("user", "system", "wall")
            ),
        )
        print(ROW.format(way, len(measured), *(f"{figure:.3f}" for figure in figures)))
    print(f"aim: at most {AIM_SECONDS:.3f} s of CPU, in the container")


if __name__ == "__main__":
    main()
