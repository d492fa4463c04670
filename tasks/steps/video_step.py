"""Make and store a job's video; the stitch_video task calls it, and local_run without Prefect."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from povstorm_client.errors import VideoError
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.storage import layout
from povstorm_client.storage.disk_full import is_disk_full, temporary_words
from povstorm_client.storage.protocol import Storage
from tasks.video.encode import ReadySegments, encode_video
from tasks.video.job_video import remedy, segment_store, stored_image


async def make_video(
    storage: Storage,
    manifest: JobManifest,
    results: list[FrameResult],
    on_progress: Callable[[int], None],
    ready: ReadySegments,
) -> dict[str, Any]:
    """Encode and store the video; returns its facts (frames, size, seconds, codec).

    on_progress is told the number of frames encoded so far. ready: the segments that were encoded
    while frames were rendered; the video is the same without them.

    Raises VideoError, naming the frames, when images are missing and the job does not allow that.
    """
    stopped = threading.Event()
    try:
        return await asyncio.to_thread(
            _encode, storage, manifest, results, on_progress, ready, stopped
        )
    except asyncio.CancelledError:
        stopped.set()
        raise
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise VideoError(f"the video cannot be made: {temporary_words()}") from error


def _encode(
    storage: Storage,
    manifest: JobManifest,
    results: list[FrameResult],
    on_progress: Callable[[int], None],
    ready: ReadySegments,
    stopped: threading.Event,
) -> dict[str, Any]:
    rendered = [result for result in results if result.state == "rendered"]
    ending = manifest.settings.video or ""
    key = layout.video(manifest.job_id, ending)
    info = encode_video(
        [(result.frame, stored_image(storage, result)) for result in rendered],
        segment_store(storage, manifest.job_id),
        key,
        fps=manifest.settings.frames_per_second,
        options=manifest.settings.video_options,
        expected_frames=manifest.frames,
        allow_missing_frames=manifest.settings.allow_missing_frames,
        checksums={result.frame: result.image_crc32c for result in rendered if result.image_crc32c},
        remedy=remedy(manifest.job_id),
        on_progress=lambda done, _total: on_progress(done),
        cancelled=stopped,
        ready=ready,
    )
    return {
        "key": key,
        "frames": info.frames,
        "width": info.width,
        "height": info.height,
        "fps": manifest.settings.fps,
        "codec": info.codec,
        "seconds": info.seconds,
        "bytes": info.bytes,
    }
