"""WaveShare: what one array task of a Cloud Run execution does: frames, or a video's segments.

The dispatcher of the frames' waves and SegmentWaves write one for each task of a wave before its
execution starts; the container reads its own, and those of tasks that it helps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from povstorm_client.errors import InputError
from povstorm_client.frames.job_settings import STALL_SECONDS, JobSettings
from povstorm_client.frames.video_options import VideoOptions
from povstorm_client.frames.work_unit import WorkUnit, check_belongs
from povstorm_client.storage import layout
from povstorm_client.storage.job_address import open_job
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import Count, Frame, Limit, Moment, Sum, read_record, readable


@dataclass(frozen=True)
class WaveFrame:
    """One attempt at a frame; attempt counts from 1, queued_since in Unix seconds."""

    unit: WorkUnit
    attempt: int
    final_attempt: bool
    queued_since: float


@dataclass(frozen=True)
class SegmentImage:
    """A frame's stored image, with its crc32c as Google Cloud Storage writes it."""

    frame: Frame
    key: str
    crc32c: str


@dataclass(frozen=True)
class SegmentWork:
    """A segment of a job's video to encode: its images, in order.

    ending: the video's, such as ``mp4``. fps: as an exact fraction, such as ``24000/1001``.
    options: its codec and quality.
    """

    images: Annotated[tuple[SegmentImage, ...], Meta(min_length=1)]
    ending: str
    fps: str
    has_alpha: bool
    options: VideoOptions = field(default_factory=VideoOptions)


@dataclass(frozen=True)
class WaveShare:
    """Frames of one job, and seconds for POV-Ray; None for no limit. Or segments of its video.

    frame_timeout: for all of a frame; stall_timeout: without a further pixel. frame_bytes: memory
    that a frame is expected to hold; 0 where nothing is known. container_image: by which the frames
    are rendered, which a container does not know by itself. patience: of a task that is given its
    segments while it runs (given_segments.py), the seconds for which it waits in all; None for a
    task that has all it will have.
    """

    frames: tuple[WaveFrame, ...]
    frame_timeout: float | None
    stall_timeout: float | None = STALL_SECONDS
    segments: tuple[SegmentWork, ...] = ()
    frame_bytes: int = 0
    container_image: str = ""
    patience: float | None = None

    @classmethod
    def of_job(
        cls,
        frames: tuple[WaveFrame, ...],
        settings: JobSettings,
        *,
        frame_bytes: int,
        container_image: str,
    ) -> WaveShare:
        """Frames, with what their container needs to know of the job's settings."""
        return cls(
            frames,
            settings.frame_timeout,
            settings.stall_timeout,
            frame_bytes=frame_bytes,
            container_image=container_image,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "frame_timeout": self.frame_timeout,
            "stall_timeout": self.stall_timeout,
            "frame_bytes": self.frame_bytes,
            "frames": [{**vars(frame), "unit": frame.unit.to_json()} for frame in self.frames],
            "segments": [asdict(segment) for segment in self.segments],
            "container_image": self.container_image,
            "patience": self.patience,
        }


@dataclass(frozen=True)
class _StoredFrame:
    unit: dict[str, Any]
    attempt: Count
    final_attempt: bool
    queued_since: Moment


@dataclass(frozen=True)
class _StoredShare:
    frames: tuple[_StoredFrame, ...]
    frame_timeout: Limit | None
    stall_timeout: Limit | None = STALL_SECONDS
    segments: tuple[SegmentWork, ...] = ()
    frame_bytes: Sum = 0
    container_image: str = ""
    patience: Limit | None = None


def write_wave(storage: Storage, wave: str, shares: Sequence[WaveShare]) -> None:
    """Store the share of each task, and the index: which units each has, by their ids."""
    index = [[frame.unit.work_unit_id for frame in share.frames] for share in shares]
    storage.write(layout.wave_index(wave), json.dumps(index).encode())

    def write(place: tuple[int, WaveShare]) -> None:
        task_index, share = place
        storage.write(layout.wave_share(wave, task_index), json.dumps(share.to_json()).encode())

    for _ in in_parallel(write, enumerate(shares)):
        pass


def read_index(storage: Storage, wave: str) -> list[list[str]]:
    """The unit ids of a stored wave by task; RecordError if the index is not readable."""
    key = layout.wave_index(wave)
    index = read_record(storage, key, list[list[str]])
    unit_ids = [unit_id for share in index for unit_id in share]
    with readable(key, storage):
        if len(set(unit_ids)) < len(unit_ids):
            raise InputError("a frame is in it twice")
    return index


def open_wave(wave_uri: str) -> tuple[Storage, str]:
    """The storage that a wave's uri names, and the wave's prefix in it.

    Raises InputError if the uri, which is the job's + /waves/ID, is none.
    """
    job_uri, separator, wave_id = wave_uri.rpartition("/waves/")
    if not separator or not wave_id:
        raise InputError(f"{wave_uri!r} is no wave: expected STORAGE/jobs/JOB_ID/waves/WAVE_ID")
    storage, job_id = open_job(job_uri)
    return storage, layout.wave(job_id, wave_id)


def read_share(storage: Storage, wave: str, task_index: int) -> WaveShare:
    """A task's share; RecordError if it is not readable, StorageError if it is not there."""
    key = layout.wave_share(wave, task_index)
    stored = read_record(storage, key, _StoredShare)
    with readable(key, storage):
        frames = tuple(
            WaveFrame(
                WorkUnit.from_json(frame.unit),
                frame.attempt,
                frame.final_attempt,
                frame.queued_since,
            )
            for frame in stored.frames
        )
        for frame in frames:
            check_belongs(frame.unit, layout.job_of_wave(wave))
        for segment in stored.segments:
            check_images(segment, wave)
    return WaveShare(
        frames,
        stored.frame_timeout,
        stored.stall_timeout,
        stored.segments,
        stored.frame_bytes,
        stored.container_image,
        stored.patience,
    )


def check_images(segment: SegmentWork, wave: str) -> None:
    """Raise InputError unless all images of a segment are of the wave's job."""
    output = f"{layout.output(layout.job_of_wave(wave))}/"
    for image in segment.images:
        if not image.key.startswith(output):
            raise InputError(f"the image {image.key} is none of its job")
