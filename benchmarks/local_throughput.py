"""How busy the cores are kept: POV-Ray's own loop, ``xargs -P cores``, and povstorm, side by side.

``python -m benchmarks.local_throughput [--frames 60] [--size 320x240]`` renders a light and a heavy
animation of the package povray-examples in each way. The limit is the CPU time of POV-Ray over the
cores. Aim: at least twice as fast as POV-Ray's own loop on the light one, at most 1.10 times the
limit on both.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import measure
from povstorm_client import Cluster, Job, WorkUnit
from povstorm_client.programs.cores import cores
from povstorm_client.scene.load_scene import load_scene

EXAMPLES = Path("/usr/share/doc/povray/examples/animations")
ANIMATIONS = {"light": "camera2", "heavy": "fractalzoom"}
CORES = math.ceil(cores())
ROW = "{:6} {:24} {:>8} {:>8} {:>10} {:>9} {:>9}"


@contextmanager
def copied_scene(name: str) -> Iterator[Path]:
    """A scratch copy of an example's folder."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        shutil.copytree(EXAMPLES / name, folder)
        (folder / "out").mkdir()
        yield folder


def picture(size: str, frames: int) -> list[str]:
    """The POV-Ray options that all three ways share."""
    width, height = size.split("x")
    return [f"+W{width}", f"+H{height}", "+A0.3", f"+KFF{frames}"]


def own_loop(folder: Path, name: str, options: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of POV-Ray's animation loop with all threads."""
    command = ["povray", f"{name}.ini", *options, f"+WT{CORES}", "-D", "+Oout/frame.png"]
    taken = measure(command, cwd=folder)
    return taken.wall, taken.cpu


def xargs(folder: Path, name: str, options: list[str], frames: int) -> tuple[float, float]:
    """Wall and CPU seconds of one process a frame, as many at once as there are cores."""
    (folder / "frames").write_text("".join(f"{frame}\n" for frame in range(1, frames + 1)))
    povray = ["povray", f"{name}.ini", *options, "+WT1", "-D", "+Oout/frame.png"]
    command = ["xargs", "-a", "frames", "-P", str(CORES), "-I", "{}", *povray, "+SF{}", "+EF{}"]
    taken = measure(command, cwd=folder)
    return taken.wall, taken.cpu


def povstorm(folder: Path, name: str, options: list[str]) -> tuple[float, float, float, float]:
    """Wall seconds in all and of rendering alone, CPU seconds in all and of POV-Ray alone."""
    command = [sys.executable, "-m", "benchmarks.local_throughput", "--render"]
    taken = measure([*command, str(folder / f"{name}.ini"), *options])
    found = json.loads(taken.output.strip().splitlines()[-1])
    return taken.wall, found["elapsed"], taken.cpu, found["cpu"]


def render_with_povstorm(scene: str, options: list[str]) -> None:
    """Render without a cache to find anything in; prints the statistics as JSON."""
    loaded = load_scene(scene, switches=options)
    with tempfile.TemporaryDirectory() as storage:
        job = Job(Cluster.local(storage), "benchmark", video=None)
        job.add_shared_files(loaded.files)
        for frame in loaded.frames:
            job.add_work_unit(WorkUnit(loaded.settings, frame=frame))
        job.run(show_progress=False)
        found = job.statistics()
    print(
        json.dumps(
            {
                "elapsed": found.elapsed_seconds,
                "cpu": found.cpu_seconds,
                "own_loop": found.own_loop_seconds,
            }
        )
    )


def main() -> None:
    """Measure the three ways on both animations, and print walls, CPU seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--render", nargs="+", help=argparse.SUPPRESS)
    arguments, rest = parser.parse_known_args()
    if arguments.render:
        render_with_povstorm(arguments.render[0], [*arguments.render[1:], *rest])
        return
    print(ROW.format("", f"{CORES} cores", "wall s", "CPU s", "CPU/cores", "to limit", "to loop"))
    for weight, name in ANIMATIONS.items():
        options = picture(arguments.size, arguments.frames)
        with copied_scene(name) as folder:
            loop_wall, loop_cpu = own_loop(folder, name, options)
            xargs_wall, xargs_cpu = xargs(folder, name, options, arguments.frames)
            wall, rendering, cpu, povray_cpu = povstorm(folder, name, options)
        for way, seconds, used, limit in (
            ("POV-Ray's own loop", loop_wall, loop_cpu, loop_cpu / CORES),
            ("xargs -P cores", xargs_wall, xargs_cpu, xargs_cpu / CORES),
            ("povstorm, rendering", rendering, povray_cpu, povray_cpu / CORES),
            ("povstorm with its start", wall, cpu, cpu / CORES),
        ):
            print(
                ROW.format(
                    weight,
                    way,
                    f"{seconds:.1f}",
                    f"{used:.1f}",
                    f"{limit:.1f}",
                    f"{seconds / limit:.2f}",
                    f"{loop_wall / seconds:.2f}x",
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
