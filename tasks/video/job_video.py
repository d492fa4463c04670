"""A job's images as encode.py takes them, and its video encoded ahead; flow and task ask."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from povstorm_client.cloud_run.api import GoogleCloudRun
from povstorm_client.errors import ToolError
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_outputs import output_key
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage import layout
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.protocol import Storage
from render_image.video.segments import (
    Encoding,
    FrameImage,
    StoredImage,
    most_frames,
    plan_segments,
)
from render_image.video.stored_segments import SegmentStore
from render_image.video.video_formats import is_joined
from tasks.video.cloud_run.segment_waves import SegmentWaves
from tasks.video.encode import ReadySegments
from tasks.video.segments_ahead import SegmentsAhead


def stored_image(storage: Storage, result: FrameResult) -> StoredImage:
    """The image of a frame that is rendered."""
    return StoredImage(storage, output_key(result.job_id, result.image))


def segment_store(storage: Storage, job_id: str) -> SegmentStore:
    """Where the segments of the job's video are kept."""
    return SegmentStore(storage, layout.segments(job_id))


def remedy(job_id: str) -> str:
    """What to do where an image of the job is not the one that was rendered."""
    return f"`povstorm retry {job_id}` renders it again"


class VideoAhead:
    """The job's video, encoded while its frames are rendered; told of each frame that is final."""

    def __init__(
        self,
        storage: Storage,
        segments: SegmentsAhead | SegmentWaves | None,
        *,
        allow_missing_frames: bool,
    ) -> None:
        self._storage = storage
        self._segments = segments
        self._allow_missing_frames = allow_missing_frames

    def frame_is_final(self, result: FrameResult) -> None:
        """A frame is rendered, with this result, or has failed for good; by any thread."""
        if self._segments is None:
            return
        if result.state != "rendered":
            if self._allow_missing_frames:
                self._segments.frame_is_final(result.frame, None)
            else:
                self._segments.stop()
        elif result.image_crc32c:
            image = stored_image(self._storage, result)
            if isinstance(self._segments, SegmentWaves) and not result.cache_hit:
                self._segments.frame_took(max(0.0, result.ended - result.started))
            self._segments.frame_is_final(
                result.frame, FrameImage(result.frame, image, result.image_crc32c)
            )

    def stop(self) -> ReadySegments:
        """Begin no further segment; returns those that stitch_video need not encode."""
        return {} if self._segments is None else self._segments.stop()


@asynccontextmanager
async def video_ahead(
    storage: Storage,
    manifest: JobManifest,
    pixels: int,
    gcp_credentials: str,
    logger: RunLogger,
    tell: Callable[[str], None],
) -> AsyncIterator[VideoAhead]:
    """Encode the job's video ahead during the block: here, or by containers where those render.

    Not for a job without a video, nor for a GIF. pixels: of each of its images. gcp_credentials,
    tell: as of choose_renderer.
    """
    loop = asyncio.get_running_loop()

    def tell_from_its_thread(line: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, line)

    # Without waiting: cancelled meanwhile, nobody would close it.
    segments = _segments(storage, manifest, pixels, gcp_credentials, logger, tell_from_its_thread)
    may_miss = manifest.settings.allow_missing_frames
    try:
        yield VideoAhead(storage, segments, allow_missing_frames=may_miss)
    finally:
        if segments is not None:
            # Even if nobody waits for the rest: this process ends no earlier than its thread.
            segments.cancel()
            await asyncio.to_thread(segments.close)


def _segments(
    storage: Storage,
    manifest: JobManifest,
    pixels: int,
    gcp_credentials: str,
    logger: RunLogger,
    tell: Callable[[str], None],
) -> SegmentsAhead | SegmentWaves | None:
    target = Path(f"video.{manifest.settings.video}")
    if not manifest.settings.video or not is_joined(target):
        return None

    def on_trouble(error: Exception) -> None:
        logger.info("the video is encoded when all frames are rendered, not before: %s", error)

    try:
        settings = manifest.settings
        encoding = Encoding.of(
            target, settings.frames_per_second, remedy(manifest.job_id), settings.video_options
        )
        plan = plan_segments(manifest.frames, most_frames(pixels, encoding))
        if manifest.cloud_run is not None:
            return SegmentWaves(
                plan,
                pixels,
                storage,
                manifest.job_id,
                manifest.cloud_run,
                encoding,
                lambda: GoogleCloudRun(google_credentials(gcp_credentials)),
                logger,
                tell,
                retries=manifest.settings.retries,
            )
        store = segment_store(storage, manifest.job_id)
        return SegmentsAhead(plan, store, encoding, on_trouble)
    except (ToolError, OSError) as error:
        # stitch_video has the same to say.
        on_trouble(error)
        return None
