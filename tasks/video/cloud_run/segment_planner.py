"""SegmentPlanner: when segments are worth containers, in which render jobs; arithmetic only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.wave_plan import WavePlan, plan_wave
from povstorm_client.frames.video_options import VideoOptions
from render_image.video.video_formats import cost_of
from tasks.video.cloud_run.segment_wave import WaitingSegment

# MiB that ffmpeg, ffprobe and Python need beside what they need for each pixel.
_CONTAINER_MIB = 256
# Before all frames are there, segments wait for so many others: a share of all, and at least a few.
_GATHERED_SHARE, _GATHERED_LEAST = 4, 8


class SegmentPlanner:
    """worth: what is encoded here within these seconds is not worth starting containers for.

    ending: the video's, such as ``mp4``. segments: how many it has. options: its codec; the
    format's own if None.
    """

    def __init__(
        self,
        fleet: CloudRunFleet,
        ending: str,
        segments: int,
        worth: float,
        options: VideoOptions | None = None,
    ) -> None:
        self._fleet = fleet
        self._bytes_per_pixel, self._seconds_per_pixel = cost_of(ending, options or VideoOptions())
        self._gathered = max(_GATHERED_LEAST, segments // _GATHERED_SHARE)
        self._worth = worth

    def is_enough(self, segments: Sequence[WaitingSegment], *, is_all: bool) -> bool:
        """Whether these are to be begun; is_all: no further ones will come."""
        return bool(segments) and (is_all or _retries(segments) or len(segments) >= self._gathered)

    def is_worth_it(self, segments: Sequence[WaitingSegment], pixels: int) -> bool:
        """Whether containers are to be started for these; pixels: of each of their images."""
        frames = sum(len(segment.images) for segment in segments)
        seconds = pixels * self._seconds_per_pixel * frames
        return seconds >= self._worth or _retries(segments)

    def by_size(
        self, segments: Sequence[WaitingSegment], pixels: int
    ) -> dict[int, list[WaitingSegment]]:
        """The segments by the fleet's render job, its index, whose memory they need."""
        least = self._least_size(pixels)
        found: dict[int, list[WaitingSegment]] = defaultdict(list)
        for segment in segments:
            found[max(segment.size, least)].append(segment)
        return found

    def _least_size(self, pixels: int) -> int:
        needed = _CONTAINER_MIB + pixels * self._bytes_per_pixel / 2**20
        jobs = self._fleet.jobs
        return next((n for n, job in enumerate(jobs) if job.memory_mib >= needed), len(jobs) - 1)

    def plan(self, segments: Sequence[WaitingSegment], pixels: int, size: int) -> WavePlan:
        """Over how many tasks of a render job the segments are spread."""
        seconds = pixels * self._seconds_per_pixel * max(len(each.images) for each in segments)
        job = self._fleet.jobs[size]
        return plan_wave(len(segments), seconds, job=job, prefer=self._fleet.prefer)


def _retries(segments: Sequence[WaitingSegment]) -> bool:
    return any(segment.attempt > 1 for segment in segments)
