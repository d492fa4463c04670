"""What a user waits for, from Enter to the prompt: ``povstorm render`` beside POV-Ray's own loop.

``python -m benchmarks.head_and_tail [--frames 24] [--scene light|heavy]`` renders an animation of
the package povray-examples by POV-Ray's own loop, as it is and without its waits (povray_waits.py),
and by ``povstorm render``: in a fresh home, a second time there, and beside a Prefect server that
is kept. Nothing comes from a cache; ratios are to the own loop as it is, in the same run. Prefect
is told of a run beside it or after it; a row ends when Prefect knows all, so the next is alone.
At last it says which of a command's processes took how much CPU time when (cpu_of_parts.py).
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx
import psutil

from benchmarks.cpu_of_parts import PARTS, CpuOfParts
from benchmarks.local_throughput import ANIMATIONS, CORES, copied_scene, picture
from benchmarks.measure import measure
from povstorm_client.launch.prefect_home import seed_prefect_home
from povstorm_client.programs.povray_waits import preload, waits_library

ROW = "{:34} {:>8} {:>9} {:>9} {:>8} {:>8} {:>9} {:>9}"
PART_ROW = "{:34} {:>8} {:>9} {:>9} {:>8} {:>8}"
# Linux, <sys/prctl.h>: children of children that outlive these are ours to wait for.
_PR_SET_CHILD_SUBREAPER = 36
_SERVER_SECONDS = 300


@dataclass(frozen=True)
class Waited:
    """Seconds from the start of a command: until its first POV-Ray, its last image, its end.

    told: until Prefect knew all of it. parts: CPU seconds of each part of it until those four.
    """

    first_povray: float
    last_image: float
    end: float
    told: float
    parts: tuple[dict[str, float], ...]

    @property
    def cpu(self) -> float:
        """CPU seconds until the end."""
        return sum(self.parts[2].values())

    @property
    def told_cpu(self) -> float:
        """CPU seconds after it, of what tells Prefect."""
        return sum(self.parts[3].values()) - self.cpu


def waited(command: list[str], folder: Path, images: Path, environment: dict[str, str]) -> Waited:
    """Run a command; its processes are looked for below this one, its images below a folder."""
    others = {child.pid for child in psutil.Process().children()}
    with CpuOfParts() as seen:
        started = time.time()
        measure(command, cwd=folder, environment=environment)
        end = told = time.time()
        while left := [child for child in psutil.Process().children() if child.pid not in others]:
            os.wait4(left[0].pid, 0)
            told = time.time()
    last = max(path.stat().st_mtime for path in images.rglob("*.png"))
    moments = (seen.first_frame, last, end)
    parts = tuple(seen.until(moment) for moment in (*moments, math.inf))
    first_seconds, last_seconds, seconds = (moment - started for moment in moments)
    return Waited(first_seconds, last_seconds, seconds, told - started, parts)


@contextmanager
def kept_server(home: Path) -> Iterator[dict[str, str]]:
    """A Prefect server in that home, ready; what a command needs to know of it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
        env={**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _SERVER_SECONDS
        while True:
            try:
                httpx.get(f"{url}/health", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise
                time.sleep(0.2)
        yield {"PREFECT_API_URL": url}
    finally:
        server.terminate()
        server.wait()


def row(name: str, taken: Waited, loop: Waited) -> str:
    """A line of the table."""
    return ROW.format(
        name,
        f"{taken.first_povray:.2f}",
        f"{taken.end - taken.last_image:.2f}",
        f"{taken.end:.1f}",
        f"{taken.cpu:.1f}",
        f"{taken.end / loop.end:.2f}",
        f"{taken.told:.1f}",
        f"{taken.told_cpu:.1f}",
    )


def print_parts(name: str, taken: Waited) -> None:
    """The CPU seconds of a command's parts, by what it was at."""
    print(PART_ROW.format(f"CPU s of {name}", "start", "rendering", "end", "after", "all"))
    rows = {part: [parts[part] for parts in taken.parts] for part in PARTS}
    rows["all"] = [sum(parts.values()) for parts in taken.parts]
    for part, until in rows.items():
        phases = [later - before for before, later in pairwise([0.0, *until])]
        print(PART_ROW.format(part, *(f"{seconds:.2f}" for seconds in [*phases, until[-1]])))


def own_loop(folder: Path, name: str, options: list[str], environment: dict[str, str]) -> Waited:
    """POV-Ray's own loop with all threads, as a user would start it."""
    command = ["povray", f"{name}.ini", *options, f"+WT{CORES}", "-D", "+Oout/frame.png"]
    return waited(command, folder, folder / "out", environment)


def by_povstorm(
    folder: Path, name: str, options: list[str], home: Path, environment: dict[str, str]
) -> Waited:
    """The whole command, with a storage of its own, so that nothing was rendered before."""
    with tempfile.TemporaryDirectory() as storage:
        command = [str(Path(sys.executable).with_name("povstorm")), "render", f"{name}.ini"]
        return waited(
            [*command, *options],
            folder,
            Path(storage) / "jobs",
            {"PREFECT_HOME": str(home), "POVSTORM_HOME": storage, **environment},
        )


def compare(scene: str, frames: int, size: str) -> None:
    """Print the table of one animation."""
    name, options = ANIMATIONS[scene], picture(size, frames)
    print(f"\n{frames} {scene} frames ({name}, {size}), {CORES} cores; seconds")
    print(ROW.format("", "first", "last", "to the", "CPU", "to POV-", "Prefect", "CPU for"))
    print(ROW.format("", "POV-Ray", "to end", "prompt", "", "Ray", "knows", "that"))
    with copied_scene(name) as folder, tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "prefect"
        loop = own_loop(folder, name, options, {})
        print(row("POV-Ray's own loop", loop, loop), flush=True)
        if library := waits_library():
            short = own_loop(folder, name, options, preload(str(library)))
            print(row("POV-Ray's own loop without waits", short, loop), flush=True)
        fresh = by_povstorm(folder, name, options, home, {})
        print(row("povstorm, fresh home", fresh, loop), flush=True)
        second = by_povstorm(folder, name, options, home, {})
        print(row("povstorm, second run", second, loop), flush=True)
        served = Path(scratch) / "served"
        seed_prefect_home({"PREFECT_HOME": str(served)})
        with kept_server(served) as environment:
            kept = by_povstorm(folder, name, options, served, environment)
            print(row("povstorm, kept server", kept, loop), flush=True)
        print_parts("the second run", second)
        print_parts("that with a kept server", kept)


def main() -> None:
    """Compare on the animations that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--scene", choices=sorted(ANIMATIONS), action="append")
    chosen = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for scene in chosen.scene or sorted(ANIMATIONS, reverse=True):
        compare(scene, chosen.frames, chosen.size)


if __name__ == "__main__":
    main()
