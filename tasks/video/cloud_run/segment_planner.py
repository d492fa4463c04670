"""SegmentPlanner: when segments are worth containers, in which render jobs; arithmetic only."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.prices_and_limits import LEAST_BILLED_SECONDS, STARTUP_SECONDS
from povstorm_client.cloud_run.prices_and_limits import usd as price
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.cloud_run.wave_plan import WavePlan, plan_wave
from povstorm_client.frames.video_options import VideoOptions
from render_image.video.video_formats import cost_of
from tasks.video.cloud_run.segment_wave import WaitingSegment

# MiB that ffmpeg, ffprobe and Python need beside what they need for each pixel.
_CONTAINER_MIB = 256
# Before all frames are there, segments wait for so many others: a share of all, and at least a few.
_GATHERED_SHARE, _GATHERED_LEAST = 4, 8

# A wave that is started ahead is for what is left when the last frame is there, which people wait
# for: how many segments each of its tasks is to encode then, where that is not to be cheapest.
_AHEAD_PER_TASK = {"fastest": 1, "balanced": 2}

# Here: by the flow, when all frames are there.
Place = Literal["containers", "here", "nowhere yet"]


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

    def place(self, segments: Sequence[WaitingSegment], pixels: int, *, is_all: bool) -> Place:
        """Where segments that wait are to be encoded; pixels: of each of their images.

        is_all: no further ones will come. Else too few of them wait for others, however long the
        video is: what it leaves to the flow is never more than ``worth``, once and in the end.
        """
        if not segments:
            return "nowhere yet"
        if _retries(segments):
            return "containers"
        frames = sum(len(segment.images) for segment in segments)
        is_worth_it = self.seconds(frames, pixels) >= self._worth
        if is_all:
            return "containers" if is_worth_it else "here"
        is_enough = is_worth_it and len(segments) >= self._gathered
        return "containers" if is_enough else "nowhere yet"

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
        seconds = self.seconds(max(len(each.images) for each in segments), pixels)
        job = self._fleet.jobs[size]
        return plan_wave(len(segments), seconds, job=job, prefer=self._fleet.prefer)

    def seconds(self, frames: int, pixels: int) -> float:
        """What encoding so many frames takes one vCPU."""
        return pixels * self._seconds_per_pixel * frames

    def plan_ahead(
        self, lengths: Sequence[int], pixels: int, patience: float
    ) -> tuple[WavePlan, int]:
        """Tasks that are started ahead of segments of so many frames, and their render job.

        patience: for how long they may wait, which is counted in, as it costs as much.
        """
        size = self._least_size(pixels)
        job = self._fleet.jobs[size]
        seconds = self.seconds(max(lengths), pixels)
        # Of one task, within what is billed for it anyway: no others are cheaper.
        full = max(1, int((LEAST_BILLED_SECONDS - STARTUP_SECONDS) / seconds))
        per_task = min(full, _AHEAD_PER_TASK.get(self._fleet.prefer, full))
        tasks = min(math.ceil(len(lengths) / per_task), job.parallelism)
        return _ahead(job, len(lengths), tasks, seconds, patience), size


def fewer_ahead(plan: WavePlan, tasks: int, patience: float) -> WavePlan:
    """The same segments as of such a plan, by fewer tasks, of which each has more to do."""
    encoding = plan.seconds - STARTUP_SECONDS - patience
    fewer = _ahead(plan.job, plan.frames, tasks, encoding / plan.frames_per_task, patience)
    # Where all are as full as the fullest it may seem more, which it is not.
    return replace(fewer, usd=min(fewer.usd, plan.usd))


def _ahead(
    job: CloudRunJob, segments: int, tasks: int, seconds: float, patience: float
) -> WavePlan:
    at_work = STARTUP_SECONDS + patience + math.ceil(segments / tasks) * seconds
    billed = tasks * max(LEAST_BILLED_SECONDS, at_work)
    cost = price(billed, vcpus=job.vcpus, memory_mib=job.memory_mib)
    return WavePlan(job, segments, tasks, at_work, cost)


def _retries(segments: Sequence[WaitingSegment]) -> bool:
    return any(segment.attempt > 1 for segment in segments)
