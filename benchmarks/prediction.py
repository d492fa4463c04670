"""How often a preview's prediction holds: `render --preview` against rendering all, in CPU seconds.

``python -m benchmarks.prediction [--frames 24] [--size 320x240] [NAME …]`` takes the animations of
the package povray-examples. Each has the frames of its preview rendered as `render --preview`
renders them, is predicted, and is rendered whole. Aim: the truth within the interval in 70 to 90 %
of the animations, and a median error of at most 15 %.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.local_throughput import EXAMPLES, copied_scene, picture
from povstorm_client import Cluster, InputError, Job, WorkUnit
from povstorm_client.commands.prospect import sample_of
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.manifest import read_manifest
from povstorm_client.jobs.prediction import predict
from povstorm_client.jobs.shared_resources import stage
from povstorm_client.programs.tools import require_povray
from povstorm_client.scene.load_scene import load_scene
from povstorm_client.scene_job import scene_job
from tasks.renderers.local_renderer import LocalRenderer

ROW = "{:14} {:>8} {:>8} {:>9} {:>9} {:>9} {:>7} {:>7}"


def rendered(job: Job) -> list[FrameResult]:
    """Render all frames of a job, without Prefect, which costs a start of seconds."""
    job.submit()
    storage = job.cluster.storage
    stage(storage, read_manifest(storage, job.job_id).shared_files, print)

    async def render() -> list[FrameResult]:
        async with LocalRenderer(storage, require_povray()) as renderer:

            async def one(unit: WorkUnit) -> FrameResult:
                async with renderer.admission(unit):
                    return await renderer.render(unit, attempt=1, final_attempt=True)

            return list(await asyncio.gather(*map(one, job.work_units)))

    return asyncio.run(render())


def cpu_seconds(results: Sequence[FrameResult]) -> float:
    """Of all frames."""
    return sum(result.statistics.cpu_seconds for result in results if result.statistics)


def main() -> None:
    """Print a line for each animation, and how often and how well it was predicted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    names = arguments.names or sorted(
        folder.name for folder in EXAMPLES.iterdir() if (folder / f"{folder.name}.ini").exists()
    )
    print(ROW.format("", "preview", "whole", "predicted", "low", "high", "error", "held"))
    errors, held = [], []
    for name in names:
        options = picture(arguments.size, arguments.frames)
        with copied_scene(name) as folder, tempfile.TemporaryDirectory() as storage:
            cluster, settings = Cluster.local(Path(storage)), JobSettings(video=None)
            scene = str(folder / f"{name}.ini")
            try:
                draft = load_scene(scene, switches=options, preview=True)
            except InputError as error:
                print(f"{name:14} {error}")  # Debian has renamed the files of one
                continue
            whole = load_scene(scene, switches=options)
            sample = sample_of(draft, whole, chosen=False)
            small = scene_job(cluster, sample, settings)
            previewed = rendered(small)
            found = predict(small.work_units, previewed, whole.settings, whole.frames)
            if found is None:
                continue
            said = found[0]
            truth = cpu_seconds(rendered(scene_job(cluster, whole, settings)))
        errors.append(said.cpu_seconds / truth - 1)
        held.append(said.low <= truth <= said.high)
        numbers = (cpu_seconds(previewed), truth, said.cpu_seconds, said.low, said.high)
        told = [f"{seconds:.1f}" for seconds in numbers]
        print(ROW.format(name, *told, f"{errors[-1]:+.0%}", str(held[-1])), flush=True)
    print(
        f"held in {statistics.fmean(held):.0%} of {len(held)}, median error "
        f"{statistics.median(map(abs, errors)):.0%}"
    )


if __name__ == "__main__":
    main()
