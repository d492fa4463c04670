"""What the wall around POV-Ray costs: the same frames in bubblewrap and without, by turns.

``python -m benchmarks.sandbox_cost [--frames 24] [--rounds 5] [--work 200000]``. Without --work the
frames are as light as frames get, so that what a process costs in itself shows; with it each counts
to that number first, as a scene of some size does. Aim: at most 1.02 times the wall seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.programs.sandbox_mode import SandboxMode
from povstorm_client.programs.tools import require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.render_unit import render_unit

SCENE = """#version 3.7;
#for (I, 1, WORK) #declare X = sqrt(I); #end
global_settings { assumed_gamma 1 }
camera { location -4*z look_at 0 }
light_source { <5, 8, -9> rgb 1 }
sphere { <clock, 0, 0>, 1 pigment { rgb <1, 0.4, 0.1> } finish { phong 1 } }
"""
ROW = "{:14} {:>12} {:>12} {:>12}"


async def render_all(
    units: list[WorkUnit], storage: FolderStorage, mode: SandboxMode, at_once: int
) -> tuple[float, float, float]:
    """Wall seconds in all; CPU seconds and median wall seconds of the POV-Ray processes."""
    gate = asyncio.Semaphore(at_once)

    async def render(unit: WorkUnit) -> tuple[float, float]:
        async with gate:
            result = await render_unit(unit, storage, require_povray(), sandbox=mode)
        if result.statistics is None:
            raise RuntimeError(f"{unit.name} has no statistics")
        return result.statistics.cpu_seconds, result.statistics.wall_seconds

    before = time.monotonic()
    taken = await asyncio.gather(*(render(unit) for unit in units))
    wall = time.monotonic() - before
    return wall, sum(cpu for cpu, _ in taken), statistics.median(each for _, each in taken)


def main() -> None:
    """Render by turns, and print medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--work", type=int, default=1)
    arguments = parser.parse_args()
    settings = RenderSettings(
        scene="a.pov", width=160, height=120, final_frame=max(2, arguments.frames)
    )
    modes: tuple[SandboxMode, SandboxMode] = ("off", "required")
    found: dict[SandboxMode, list[tuple[float, float, float]]] = {mode: [] for mode in modes}
    with tempfile.TemporaryDirectory() as folder:
        storage = FolderStorage(Path(folder))
        units = []
        for frame in range(1, arguments.frames + 1):
            unit = WorkUnit(settings, frame=frame)
            unit.add_inline_resource("a.pov", SCENE.replace("WORK", str(arguments.work)))
            units.append(
                unit.assigned(job_id="b", shared_prefix="", offload_prefix=layout.output("b"))
            )
        for mode in modes:
            asyncio.run(render_all(units[:1], storage, mode, 1))
        for turn in range(arguments.rounds):
            # Whoever goes first on a busy machine is not always the same.
            for mode in modes if turn % 2 else reversed(modes):
                found[mode].append(asyncio.run(render_all(units, storage, mode, arguments.at_once)))
    print(ROW.format(f"{arguments.frames} frames", "wall s", "CPU s", "s a process"))
    medians = {
        mode: [statistics.median(column) for column in zip(*found[mode], strict=True)]
        for mode in modes
    }
    for mode, name in zip(modes, ("without", "in bubblewrap"), strict=True):
        print(ROW.format(name, *(f"{value:.3f}" for value in medians[mode])))
    pairs = zip(medians["required"], medians["off"], strict=True)
    print(ROW.format("ratio", *(f"{with_it / without:.3f}" for with_it, without in pairs)))
    more = (medians["required"][1] - medians["off"][1]) / arguments.frames
    print(f"CPU time more for each frame: {1000 * more:.1f} ms")


if __name__ == "__main__":
    main()
