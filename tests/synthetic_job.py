"""Jobs as a storage has them after they ran, without rendering: for the tests of their report."""

from __future__ import annotations

import io
import json
import math
import os
import random
from dataclasses import replace

from PIL import Image, ImageDraw

from flows.outcome import missing_frames_in_words
from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.result import FrameResult, FrameStatistics
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.jobs.summarize import summarize
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tasks.report.job_run import JobRun

# Whenever: times in a report are differences.
START = 1_790_000_000.0


def picture(frame: int, width: int, height: int) -> bytes:
    """A PNG with gradients, edges and some grain: about as hard to compress as a render."""
    ramp = Image.linear_gradient("L").resize((width, height))
    turned = ramp.rotate(3 * frame)
    noise = Image.effect_noise((width, height), 12)
    image = Image.merge("RGB", (turned, ramp, noise))
    angle = frame / 20
    x, y = width * (0.5 + 0.3 * math.cos(angle)), height * (0.5 + 0.3 * math.sin(angle))
    radius = height / 7
    pen = ImageDraw.Draw(image)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(240, 150, frame % 256))
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def rendered(unit: WorkUnit, *, started: float, seconds: float, **changes: object) -> FrameResult:
    """The result of a frame that was rendered."""
    result = FrameResult(
        work_unit_id=unit.work_unit_id,
        job_id=unit.job_id,
        frame=unit.frame,
        state="rendered",
        attempt=1,
        host="workstation",
        started=started,
        ended=started + seconds,
        image=unit.image_name,
        image_bytes=1,
        width=unit.settings.width,
        height=unit.settings.height,
        renderer_version="3.7.0.10",
        statistics=FrameStatistics(
            parse_seconds=0.1 * seconds,
            bounding_seconds=0.0,
            photon_seconds=0.0,
            radiosity_seconds=0.0,
            trace_seconds=0.8 * seconds,
            cpu_seconds=0.9 * seconds,
            wall_seconds=seconds,
            peak_memory_bytes=60_000_000 + unit.frame * 1000,
            pixels=unit.settings.width * unit.settings.height,
            rays=1_000_000,
            samples=None,
            image_bytes=1,
        ),
    )
    return replace(result, **changes)


def failed(unit: WorkUnit, *, started: float, error: str, **changes: object) -> FrameResult:
    """The result of a frame's attempt that failed, for good unless ``state`` says otherwise."""
    result = rendered(unit, started=started, seconds=1.0)
    return replace(
        result, **{"state": "failed", "image": "", "statistics": None, "error": error, **changes}
    )


def make_units(job_id: str, frames: int, *, width: int = 64, height: int = 48) -> list[WorkUnit]:
    settings = RenderSettings(
        scene="shared/orbit.pov", width=width, height=height, final_frame=frames, antialias=0.3
    )
    return [
        WorkUnit(settings, frame).assigned(
            job_id=job_id, shared_prefix="", offload_prefix=layout.output(job_id)
        )
        for frame in range(1, frames + 1)
    ]


def make_manifest(job_id: str, frames: int, **changes: object) -> JobManifest:
    manifest = JobManifest(
        job_id=job_id,
        name="orbit",
        frames=tuple(range(1, frames + 1)),
        shared_tree="",
        shared_files={},
        settings=JobSettings(),
        created=START - 5,
        created_by="somebody",
        version="0.1.0",
    )
    return replace(manifest, **changes)


def finished(
    storage: FolderStorage,
    manifest: JobManifest,
    units: list[WorkUnit],
    results: list[FrameResult],
    *,
    attempts: tuple[FrameResult, ...] = (),
    stored: bool = True,
    cores: float | None = None,
) -> JobRun:
    """The run as the flow knows it; its results, images and failed attempts are stored."""
    by_id = {unit.work_unit_id: unit for unit in units}
    for result in results if stored else ():
        FrameResults(storage, result.job_id).commit(result)
        if result.cache_hit:
            key = layout.result(result.job_id, result.work_unit_id)
            os.utime(storage.path(key), (START + 0.3, START + 0.3))
        if result.image:
            settings = by_id[result.work_unit_id].settings
            data = picture(result.frame, settings.width, settings.height)
            storage.write(f"{layout.output(manifest.job_id)}/{result.image}", data)
    for result in attempts:
        key = layout.attempt(manifest.job_id, result.work_unit_id, result.attempt, result.ended)
        storage.write(key, json.dumps(result.to_json()).encode())
    done = sum(result.state == "rendered" for result in results)
    complete = done == len(units)
    statistics = summarize(
        results,
        job_id=manifest.job_id,
        name=manifest.name,
        expected_frames=manifest.frames,
        started=START,
        ended=max((result.ended for result in results if not result.cache_hit), default=START),
        video=None,
        cores=cores,
    )
    message = f"{done} of {len(units)} frames"
    if not complete:
        message = missing_frames_in_words(manifest.frames, results)
    return JobRun(manifest, units, results, statistics, complete, message)


def local_run(
    storage: FolderStorage,
    frames: int,
    *,
    at_once: int = 6,
    width: int = 64,
    height: int = 48,
    stored: bool = True,
) -> JobRun:
    """A job that one machine rendered, several frames at once."""
    chance = random.Random(frames)  # noqa: S311
    units = make_units("orbit-local", frames, width=width, height=height)
    free = [START] * at_once
    results = []
    for unit in units:
        lane = free.index(min(free))
        seconds = 1.5 + math.sin(unit.frame / 25) + chance.random() ** 4 * 2
        results.append(rendered(unit, started=free[lane], seconds=seconds))
        free[lane] += seconds + 0.05
    manifest = make_manifest("orbit-local", frames)
    return finished(storage, manifest, units, results, stored=stored, cores=4)


def cloud_run(
    storage: FolderStorage, frames: int = 48, *, tasks: int = 6, width: int = 64, height: int = 48
) -> JobRun:
    """A job on Cloud Run: some frames cached, a container lost, a frame that failed for good."""
    job_id = "orbit-cloud"
    chance = random.Random(1)  # noqa: S311
    units = make_units(job_id, frames, width=width, height=height)
    cached, working, bad = units[:6], units[6:-1], units[-1]
    results = [
        rendered(unit, started=START - 90_000, seconds=2.0, cache_hit=True, host="earlier/task-0")
        for unit in cached
    ]
    attempts: list[FrameResult] = []
    end_of_first = START + 10.0
    lost: list[WorkUnit] = []
    for task in range(tasks):
        moment = START + 8 + chance.random() * 4
        host = f"render-512m-x7k2q/task-{task}"
        begun = moment - 6
        for number, unit in enumerate(working[task::tasks]):
            if task == 1 and number >= 3:
                lost.append(unit)
                continue
            seconds = 2.0 + chance.random()
            results.append(rendered(unit, started=moment, seconds=seconds, host=host))
            moment += seconds + 0.1
        end_of_first = max(end_of_first, moment)
        if task == 1:
            attempts += [
                failed(
                    unit,
                    started=begun,
                    ended=moment + 1.4,
                    host=host,
                    state="retrying",
                    error=f"its container {host} was lost with exit code 137",
                    lost_container=True,
                )
                for unit in lost
            ]
    broken = failed(
        bad,
        started=START + 12,
        host="render-512m-x7k2q/task-5",
        error="shared/orbit.pov:31: Parse Error: Expected 'object', } found instead",
        log_tail="File 'shared/orbit.pov' line 31: Parse Error: Expected 'object', } found "
        "instead\nFatal error in parser: Cannot parse input.\nRender failed",
    )
    results.append(broken)
    attempts.append(broken)
    second = end_of_first + 4
    moment = second + 9
    for unit in lost:
        results.append(
            rendered(unit, started=moment, seconds=2.4, attempt=2, host="render-2g-p4mhd/task-0")
        )
        moment += 2.5
    small = CloudRunJob("render-512m", 1, 512, 100, 0, 600)
    large = CloudRunJob("render-2g", 1, 2048, 100, 0, 600)
    fleet = CloudRunFleet("a-project", "europe-west1", (small, large))

    def wave(name: str, job: CloudRunJob, count: int, frames: int, **times: object) -> dict:
        return {
            "wave": name,
            "execution": None,
            "render_job": job.name,
            "tasks": count,
            "frames": frames,
            "failed_tasks": 0,
            "predicted_seconds": 28.0,
            "predicted_usd": 0.0068,
            **times,
        }

    waves = [
        wave(
            *("w0001", small, tasks, len(working) + 1),
            submitted=START,
            completed=end_of_first + 3,
            failed_tasks=1,
            billed_usd=0.0071,
        ),
        wave(
            *("w0002", large, 1, len(lost)),
            submitted=second,
            completed=moment + 2,
            billed_usd=0.0013,
        ),
    ]
    storage.write(layout.plan(job_id), json.dumps({"waves": waves}).encode())
    manifest = make_manifest(job_id, frames, cloud_run=fleet)
    return finished(
        storage,
        manifest,
        units,
        sorted(results, key=lambda result: result.frame),
        attempts=tuple(attempts),
    )
