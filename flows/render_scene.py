"""The render-scene flow: a scene in the storage becomes a job, and the job is rendered.

Nightly schedules call it, and people who keep their scenes in a bucket.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.render_job import render_job
from povstorm_client.cluster import Cluster
from povstorm_client.errors import InputError
from povstorm_client.frames.job_settings import (
    MOST_RETRIES,
    STALL_SECONDS,
    Preference,
    VideoEnding,
)
from povstorm_client.frames.render_settings import MOST_SUB_FRAMES
from povstorm_client.frames.tone_mapping import ToneMap
from povstorm_client.frames.video_options import VideoCodec
from povstorm_client.job import Job
from povstorm_client.scene_job import read_scene, scene_job, settings_of_options
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.job_address import job_uri
from povstorm_client.storage.open_storage import open_storage

VideoFormat = Literal[VideoEnding, "none"]


def _run_name(**_: object) -> str:
    from prefect.runtime import flow_run

    return str(flow_run.parameters["scene"]).rpartition("/")[2]


@flow(name="render-scene", flow_run_name=_run_name, persist_result=False)
async def render_scene(
    scene: str,
    cluster: str = "",
    storage: str = "",
    options: list[str] | None = None,
    frames: str = "",
    size: str = "",
    fps: str = "24",
    video: VideoFormat = "mp4",
    codec: VideoCodec | None = None,
    crf: Annotated[int, Field(ge=0)] | None = None,
    tone_map: ToneMap = "clip",
    exposure: float = 0.0,
    prefer: Preference = "cheapest",
    max_cost: float | None = None,
    retries: Annotated[int, Field(ge=0, le=MOST_RETRIES)] = 3,
    allow_missing_frames: bool = False,
    frame_timeout: float | None = None,
    stall_timeout: float | Literal["off"] | None = STALL_SECONDS,
    frame_memory: float | None = None,
    seconds_per_frame: float | None = None,
    declare: list[str] | None = None,
    motion_blur: Annotated[int, Field(ge=0, le=MOST_SUB_FRAMES)] = 0,
    shutter: float = 180.0,
    trace: bool = False,
    in_order: bool = False,
    gcp_credentials: str = "",
    lean: Literal[Preference, ""] = "",
) -> State[Any]:
    """Render a scene that lies in a bucket or a folder; unchanged frames come from the cache.

    Args:
        scene: The scene's address: gs://BUCKET/scenes/orbit/orbit.ini, or file:///FOLDER/anim.pov.
            What it includes is looked for in its folder.
        cluster: The address of the cluster's terraform outputs, gs://BUCKET/outputs.json or a
            file:/// one: its Cloud Run jobs render. Empty renders where the flow runs.
        storage: Where the job and its cache live, gs://BUCKET or file:///FOLDER. Empty takes the
            cluster's bucket, and without a cluster the folder ~/.povstorm.
        options: POV-Ray's own options, one an entry: +W1920, +H1080, +A0.3, Quality=9.
        frames: Frames to render, such as 1-120, 1-100x10 (every tenth) or 1,5,9-12. Empty for all.
        size: Image size such as 1920x1080. Empty for the scene's own.
        fps: Frames a second of the video; fractions such as 24000/1001 work.
        video: The video's format, or none.
        codec: The video's codec. Empty for the format's own.
        crf: The video's quality, as ffmpeg's -crf has it; 0 is the best. Empty for the codec's own.
        tone_map: How the video and previews show OpenEXR and HDR images (+FE, +FH).
        exposure: Stops, each of which makes them twice as bright before that.
        prefer: What the plan on Cloud Run prefers.
        max_cost: Refuse to spend more than so many US dollars on Cloud Run. Empty for no limit.
        retries: Further attempts for a frame that was lost.
        allow_missing_frames: Make the video even if frames failed.
        frame_timeout: Stop a frame that takes longer, in seconds. Empty for no limit.
        stall_timeout: Stop a frame that renders no further pixel for so many seconds; off: never.
        frame_memory: GiB of memory for a frame where the flow renders it. Empty for most of it.
        seconds_per_frame: Plan on Cloud Run with so many CPU seconds a frame. Empty to go by the
            scene's last run, or to measure it.
        declare: Values to render the scene with, NAME=3..9, NAME=0..1x0.25 or NAME=3,5,8, one name
            an entry. Each value is a column of the report's contact sheet.
        motion_blur: Make each frame the average of so many moments, in linear light; 0 for none.
        shutter: How long that is, in degrees of the 360 from a frame to the next.
        trace: Parse all frames first, so that each is cached by the files that it uses itself.
            That happens anyway where the scene cannot do without.
        in_order: Render frames that go on from each other's images on Cloud Run all the same, one
            at a time, each in a container of its own.
        gcp_credentials: The name of a GcpCredentials block for Google Cloud. Empty uses the
            application default credentials of where the flow runs.
        lean: The older name of prefer. Leave it empty.
    """
    logger = get_run_logger()
    settings = settings_of_options(
        fps=fps,
        video=video,
        codec=codec,
        crf=crf,
        tone_map=tone_map,
        exposure=exposure,
        allow_missing_frames=allow_missing_frames,
        retries=retries,
        frame_timeout=frame_timeout,
        stall_timeout=stall_timeout,
        frame_memory=frame_memory,
        prefer=prefer,
        default_preference="cheapest",
        lean=lean,
        max_cost=max_cost,
        seconds_per_frame=seconds_per_frame,
    )
    chosen = await asyncio.to_thread(_cluster, cluster, storage, gcp_credentials)

    def submit() -> Job:
        with tempfile.TemporaryDirectory(prefix="povstorm-scene-") as folder:
            fetched = _fetched(scene, Path(folder), gcp_credentials)
            loaded = read_scene(
                fetched,
                switches=options,
                frames=frames or None,
                size=size or None,
                preview=False,
                include=None,
                threads=1,
                warn=logger.warning,
                cwd=Path(fetched).parent,
                always_trace=trace,
                declare=declare,
                motion_blur=motion_blur,
                shutter=shutter,
                refuse_unparsable=chosen.outputs is not None,
            )
            job = scene_job(
                chosen,
                loaded,
                settings,
                in_order=in_order,
            )
            job.submit()
            return job

    job = await asyncio.to_thread(submit)
    uri = job_uri(chosen.storage, job.job_id)
    logger.info("job %s: %d frames", uri, len(job.work_units))
    state: State[Any] = await render_job(uri, gcp_credentials, return_state=True)
    return state


def _cluster(outputs: str, storage: str, gcp_credentials: str) -> Cluster:
    """The cluster that the parameters describe; InputError for what is not readable."""
    if not outputs:
        local = Cluster.local()
        return Cluster(storage or local.storage_uri, gcp_credentials=gcp_credentials)
    with tempfile.TemporaryDirectory(prefix="povstorm-cluster-") as folder:
        file = Path(_fetched(outputs, Path(folder), gcp_credentials, alone=True))
        chosen = Cluster.from_terraform_outputs(file, gcp_credentials=gcp_credentials)
    if storage and storage.rstrip("/") != chosen.storage_uri:
        raise InputError(
            f"storage {storage} is not the cluster's, {chosen.storage_uri}: leave one of them out"
        )
    return chosen


def _fetched(address: str, folder: Path, gcp_credentials: str, *, alone: bool = False) -> str:
    """A file's path here: of a bucket's file after fetching it, with its folder unless ``alone``.

    An ini's ``[section]`` stays where it is.
    """
    if address.startswith("file://"):
        return address.removeprefix("file://")
    if not address.startswith("gs://"):
        raise InputError(f"{address!r} is no address of a file: give gs://BUCKET/… or file:///…")
    bucket, _, key = address.removeprefix("gs://").partition("/")
    path, bracket, section = key.partition("[")
    prefix, _, name = path.rpartition("/")
    if not name or not (prefix or alone):
        raise InputError(f"{address!r} is no file in a folder of a bucket: gs://BUCKET/FOLDER/FILE")
    storage = open_storage(f"gs://{bucket}", google_credentials(gcp_credentials))
    if storage.stat(path) is None:
        raise InputError(f"there is no file {address}: upload it, with the files that it needs")
    if alone:
        storage.download(path, folder / name)
    else:
        storage.mount(prefix, folder / "scene")
    return str(folder / ("" if alone else "scene") / name) + bracket + section
