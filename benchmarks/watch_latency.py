"""From a save to the first new picture in the browser: ``python -m benchmarks.watch_latency``.

Runs ``povstorm watch`` on a light scene, listens as its page does, and saves the scene again and
again. The wall seconds end when the first new frame's picture has been received; CPU seconds are
those of povstorm and POV-Ray until then, and until all frames were there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

_SCENE = """camera { location <0, 1, -5> look_at 0 }
light_source { <2, 4, -5> 1 }
sphere { <2 * clock - 1, 0, 0>, 0.5 pigment { rgb <1, RED, 0> } }
plane { y, -0.5 pigment { checker rgb 1 rgb 0.3 } }
"""
_INI = "Input_File_Name=scene.pov\nWidth=640\nHeight=480\nFinal_Frame=24\n"
_PATIENCE = 120.0


def main() -> None:
    """Print the seconds of so many saves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saves", type=int, default=10)
    saves = parser.parse_args().saves
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scene.ini").write_text(_INI, "utf-8")
        _save(folder, 0)
        with _watching(folder) as (process, url, said), httpx.Client(timeout=_PATIENCE) as client:
            found = list(_measured(folder, process, url, said, client, saves))
    first, cpu, all_cpu = zip(*found, strict=True)
    print(f"{saves} saves of a scene of 24 frames, {os.cpu_count()} cores")
    print(f"wall to the first picture   {min(first):.2f} to {max(first):.2f} s, ", end="")
    print(f"median {statistics.median(first):.2f} s")
    print(f"CPU until then              median {statistics.median(cpu):.2f} s")
    print(f"CPU until all are there     median {statistics.median(all_cpu):.2f} s")


def _save(folder: Path, at: int) -> float:
    """Save the scene, no two times alike; returns the moment."""
    text = _SCENE.replace("RED", f"{at % 97 / 97 + at / 10_000:.5f}")
    partial = folder / ".scene.pov.tmp"
    partial.write_text(text, "utf-8")
    partial.replace(folder / "scene.pov")
    return time.monotonic()


@contextmanager
def _watching(folder: Path) -> Iterator[tuple[psutil.Process, str, Path]]:
    """The command at work, its page's address, and the file with what it says."""
    said = folder.with_suffix(".log")
    with (
        said.open("w+") as log,
        subprocess.Popen(
            [Path(sys.executable).with_name("povstorm"), "watch", "scene.ini", "--no-open"],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "POVSTORM_HOME": str(folder / "home")},
        ) as command,
    ):
        try:
            until = time.monotonic() + _PATIENCE
            while (found := re.search(r"http://\S+", said.read_text("utf-8"))) is None:
                if command.poll() is not None or time.monotonic() > until:
                    raise SystemExit(said.read_text("utf-8"))
                time.sleep(0.05)
            yield psutil.Process(command.pid), found[0], said
        finally:
            command.terminate()
            command.wait()
            said.unlink()


def _measured(
    folder: Path, process: psutil.Process, url: str, said: Path, client: httpx.Client, saves: int
) -> Iterator[tuple[float, float, float]]:
    with client.stream("GET", f"{url}events") as answer, httpx.Client(timeout=_PATIENCE) as other:
        events = (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))
        seen: dict[int, str] = {}
        _until_all(events, seen)
        for at in range(1, saves + 1):
            _wait_for_trace(said, at)
            before, old = _cpu_seconds(process), set(seen.values())
            saved = _save(folder, at)
            index = _first_new(events, seen, old)
            other.get(f"{url}frames/{index + 1}/{seen[index]}.webp").raise_for_status()
            first, cpu = time.monotonic() - saved, _cpu_seconds(process) - before
            _until_all(events, seen)
            yield first, cpu, _cpu_seconds(process) - before


def _wait_for_trace(said: Path, times: int) -> None:
    """Until the scene was run for so many saves: as for somebody who looks at what was drawn."""
    until = time.monotonic() + _PATIENCE
    while said.read_text("utf-8").count("frames run") < times and time.monotonic() < until:
        time.sleep(0.05)


def _take(event: dict[str, object], seen: dict[int, str]) -> list[int]:
    """The indices of the frames that were drawn, as an event tells."""
    rows = event.get("rows", [])
    drawn = [row for row in rows if row[1] in "rc"]  # type: ignore[attr-defined]
    seen.update({row[0]: row[9] for row in drawn})
    return [row[0] for row in drawn]


def _first_new(events: Iterator[dict[str, object]], seen: dict[int, str], old: set[str]) -> int:
    for event in events:
        for index in _take(event, seen):
            if seen[index] not in old:
                return index
    raise SystemExit("the command has ended")


def _until_all(events: Iterator[dict[str, object]], seen: dict[int, str]) -> None:
    for event in events:
        _take(event, seen)
        status = event.get("status")
        if isinstance(status, dict) and status["phase"] == "Up to date":
            return


def _cpu_seconds(process: psutil.Process) -> float:
    """Of the command and all that it started, those that have ended included."""
    total = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


if __name__ == "__main__":
    main()
