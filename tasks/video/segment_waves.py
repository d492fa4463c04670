"""SegmentWaves: a video's segments encoded by Cloud Run tasks as soon as their frames are there.

It is told of each frame that is final, as SegmentsAhead is where this machine renders. What Cloud
Run does not give in the end, encode_video does here; both give the same bytes.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from povstorm_client.cloud_run.api import CloudRunApi, ExecutionState, TaskState
from povstorm_client.cloud_run.cost import billed_usd
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.stored_plan import StoredWave, add_to_plan, spent_usd
from povstorm_client.cloud_run.wave_plan import plan_wave
from povstorm_client.cloud_run.wave_share import (
    SegmentImage,
    SegmentWork,
    WaveShare,
    read_index,
    read_share,
    write_wave,
)
from povstorm_client.errors import CloudError, PovstormError, RecordError, VideoError
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from render_image.image_check import inspect_png
from render_image.video.segments import (
    Encoding,
    FrameImage,
    Segment,
    StoredImage,
    segment_name,
)
from render_image.video.stored_segments import SegmentStore
from tasks.video.encode import ReadySegments
from tasks.video.segment_gathering import SegmentGathering

# CPU seconds a pixel, images decoded and frames counted (measured at 1080p).
_SECONDS_PER_PIXEL = {"mp4": 8e-8, "mkv": 8e-8, "mov": 8e-8, "webm": 8e-7}
# What an encoder, ffprobe and Python need: bytes a pixel, and MiB beside.
_BYTES_PER_PIXEL, _CONTAINER_MIB = 190, 256
# Before all frames are there, segments wait for so many others: a share of all, and at least a few.
_GATHERED_SHARE, _GATHERED_LEAST = 4, 8
# A wave that takes longer than it should by this factor, and these seconds, is given up.
_LATE_FACTOR, _LATE_SECONDS = 10.0, 300.0
_LOOKS_FOR_LOST_SUBMIT = 3


@dataclass(frozen=True)
class SegmentPace:
    """Seconds: poll, between looks; park_first, park_most, park_all: while a quota is used up.

    worth: what is encoded here within this time is not worth starting containers for. finish: how
    long containers that have nothing left to do may take to end.
    """

    poll: float = 1.0
    park_first: float = 2.0
    park_most: float = 20.0
    park_all: float = 120.0
    worth: float = 15.0
    finish: float = 10.0


@dataclass
class _Work:
    """A segment to be encoded; attempt counts from 1, size is the index of a render job."""

    images: tuple[FrameImage, ...]
    name: str
    attempt: int
    size: int


@dataclass
class _Wave:
    """An execution; waiting: what has no result yet, with the task it is of. record: its plan.

    started, stored: seconds of the monotonic clock; stored: since when nothing waits.
    """

    wave_id: str
    execution: str
    waiting: dict[str, tuple[int, _Work]]
    record: StoredWave | None
    started: float = field(default_factory=time.monotonic)
    stored: float | None = None


class SegmentWaves:
    """One job's segments. Its methods may be called by any thread.

    frames: all that the video is meant to have, ascending. api is called once, by another thread.
    retries: how often a lost segment is tried again. logger is told what is not encoded there.
    """

    def __init__(
        self,
        frames: Sequence[int],
        storage: Storage,
        job_id: str,
        fleet: CloudRunFleet,
        encoding: Encoding,
        api: Callable[[], CloudRunApi],
        logger: RunLogger,
        *,
        retries: int,
        pace: SegmentPace | None = None,
    ) -> None:
        self._storage = storage
        self._job_id = job_id
        self._fleet = fleet
        self._encoding = encoding
        self._open_api = api
        self._log = logger
        self._attempts = retries + 1
        self._pace = pace or SegmentPace()
        self._store = SegmentStore(storage, layout.segments(job_id))
        self._gathering = SegmentGathering(frames)
        self._ready: dict[tuple[FrameImage, ...], Future[Segment]] = {}
        self._pending: list[_Work] = []
        self._waves: list[_Wave] = []
        self._told = threading.Lock()
        self._wake = threading.Event()
        self._cancelled = threading.Event()
        self._stopped = False
        self._has_taken_over = False
        self._run_id = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=lambda: context.run(self._run), name="povstorm-segments"
        )
        self._thread.start()

    def frame_is_final(self, frame: int, image: FrameImage | None) -> None:
        """Take this for the frame's image, for good; None: it has none, since it failed."""
        with self._told:
            complete = self._gathering.frame_is_final(frame, image)
            if complete is None:
                return
            _, images = complete
            if images and images not in self._ready and not self._stopped:
                self._ready[images] = Future()
                self._pending.append(_Work(images, self._name(images), 1, 0))

    def stop(self) -> ReadySegments:
        """No further frame is told of; returns the segments that are encoded, or will be."""
        with self._told:
            self._stopped = True
            ready = dict(self._ready)
        self._wake.set()
        return ready

    def cancel(self) -> None:
        """Have it end, and what it has started; does not wait for that.

        Containers that have stored all are left to end by themselves, for some seconds.
        """
        with self._told:
            is_done = self._stopped and all(future.done() for future in self._ready.values())
        if not is_done:
            self._cancelled.set()
        self._wake.set()

    def close(self) -> None:
        """Cancel, and wait for it; what is encoded stays, for whoever makes the video."""
        self.cancel()
        self._thread.join()

    def _name(self, images: tuple[FrameImage, ...]) -> str:
        # Whether the video has transparency is not known yet: a segment's first image decides.
        return segment_name(images, self._encoding, has_alpha=False)

    def _run(self) -> None:
        try:
            while not self._cancelled.is_set():
                self._wake.wait(self._pace.poll)
                self._wake.clear()
                self._start()
                self._look()
                with self._told:
                    if self._stopped and not self._pending and not self._waves:
                        return
            self._end()
        except Exception as error:
            if not isinstance(error, PovstormError):
                self._log.exception("the segments of the video are not encoded on Cloud Run")
            self._give_up([*self._pending, *self._all_waiting()], error)

    def _all_waiting(self) -> Iterator[_Work]:
        for wave in self._waves:
            for _, work in wave.waiting.values():
                yield work

    def _give_up(self, works: Sequence[_Work], error: Exception) -> None:
        """Leave segments to encode_video."""
        if works and not self._cancelled.is_set():
            self._log.info("%d segments of the video are encoded here: %s", len(works), error)
        with self._told:
            futures = [self._ready[work.images] for work in works if work.images in self._ready]
            self._pending = [work for work in self._pending if work not in works]
        for future in futures:
            if not future.done():
                future.set_exception(error)

    def _resolve(self, work: _Work) -> bool:
        stored = self._store.find(work.name)
        if stored is None or stored.frames != len(work.images):
            return False
        future = self._ready[work.images]
        if not future.done():
            future.set_result(Segment(work.images, stored))
        return True

    @functools.cached_property
    def _api(self) -> CloudRunApi:
        """Asked only by a video that is worth it."""
        return self._open_api()

    def _start(self) -> None:
        """Start waves of what has gathered, once there is enough or nothing more to come."""
        with self._told:
            due, is_all = list(self._pending), self._stopped
        if not due:
            return
        is_retry = any(work.attempt > 1 for work in due)
        gathered = max(_GATHERED_LEAST, self._gathering.segments // _GATHERED_SHARE)
        if not (is_all or is_retry or len(due) >= gathered):
            return
        found = [work for work in due if self._resolve(work)]
        due = [work for work in due if work not in found]
        done = [*found, *due]
        pixels = self._pixels(due[0].images[0]) if due else 0
        each = pixels * _SECONDS_PER_PIXEL.get(self._ending, 8e-7)
        if each * sum(len(work.images) for work in due) < self._pace.worth and not is_retry:
            self._give_up(due, VideoError("that is soon done"))
        elif due:
            if not self._has_taken_over:
                self._take_over()
                self._has_taken_over = True
                left = {work.name for work in self._all_waiting()}
                due = [work for work in due if work.name not in left]
            seconds = each * max((len(work.images) for work in due), default=0)
            by_size: dict[int, list[_Work]] = defaultdict(list)
            for work in due:
                by_size[max(work.size, self._least_size(pixels))].append(work)
            for size, works in by_size.items():
                self._start_wave(works, size, seconds)
        with self._told:
            self._pending = [work for work in self._pending if work not in done]

    @property
    def _ending(self) -> str:
        return self._encoding.target.suffix.lower().lstrip(".")

    def _pixels(self, image: FrameImage) -> int:
        facts = inspect_png(image.picture.read_bytes())
        return facts.width * facts.height

    def _least_size(self, pixels: int) -> int:
        needed = _CONTAINER_MIB + pixels * _BYTES_PER_PIXEL / 2**20
        jobs = self._fleet.jobs
        return next((n for n, job in enumerate(jobs) if job.memory_mib >= needed), len(jobs) - 1)

    def _start_wave(self, works: list[_Work], size: int, seconds: float) -> None:
        job = self._fleet.jobs[size]
        plan = plan_wave(len(works), seconds, job=job, lean=self._fleet.lean)
        spent, most = spent_usd(self._storage, self._job_id), self._fleet.max_usd
        if most is not None and spent + plan.usd > most:
            words = f"containers for them would cost ${plan.usd:.3f}, after ${spent:.3f}"
            self._give_up(works, CloudError(f"{words}, and the most is ${most:g}", "refused"))
            return
        wave_id = f"v{next(self._numbers):04d}-{self._run_id}"
        prefix = layout.wave(self._job_id, wave_id)
        shares = [works[task :: plan.tasks] for task in range(plan.tasks)]
        write_wave(
            self._storage,
            prefix,
            [
                WaveShare((), None, segments=tuple(self._described(work) for work in share))
                for share in shares
            ],
        )
        record = StoredWave(
            wave=wave_id,
            segments=len(works),
            render_job=job.name,
            tasks=plan.tasks,
            frames=0,
            submitted=time.time(),
            completed=None,
            failed_tasks=0,
            predicted_seconds=plan.seconds,
            predicted_usd=plan.usd,
            billed_usd=None,
        )
        # Before it costs anything: whoever goes on with the job counts it.
        add_to_plan(self._storage, self._job_id, [record])
        try:
            execution = self._submit(size, f"{self._storage.uri}/{prefix}", plan.tasks)
        except CloudError as error:
            add_to_plan(self._storage, self._job_id, [replace(record, billed_usd=0.0)])
            self._give_up(works, error)
            return
        self._log.info("wave %s: %d segments of the video, %s", wave_id, len(works), plan)
        waiting = {
            work.name: (task, replace(work, size=size))
            for task, share in enumerate(shares)
            for work in share
        }
        self._waves.append(_Wave(wave_id, execution, waiting, replace(record, execution=execution)))

    def _described(self, work: _Work) -> SegmentWork:
        return SegmentWork(
            tuple(SegmentImage(image.frame, _key(image), image.crc32c) for image in work.images),
            self._ending,
            str(self._encoding.fps),
            has_alpha=False,
        )

    def _submit(self, size: int, uri: str, tasks: int) -> str:
        """Start an execution once, however often Google has to be asked; CloudError if not soon."""
        path = self._fleet.job_path(self._fleet.jobs[size])
        delay, deadline = self._pace.park_first, time.monotonic() + self._pace.park_all
        while True:
            try:
                return self._api.run(path, wave_uri=uri, tasks=tasks)
            except CloudError as error:
                if error.kind == "unclear" and (found := self._find(path, uri)):
                    return found
                late = time.monotonic() > deadline or self._cancelled.is_set()
                if error.kind == "refused" or late:
                    raise
            self._cancelled.wait(delay)
            delay = min(2 * delay, self._pace.park_most)

    def _find(self, path: str, uri: str) -> str | None:
        for look in range(_LOOKS_FOR_LOST_SUBMIT):
            if look:
                self._cancelled.wait(self._pace.poll)
            for execution in self._api.executions(path):
                if execution.wave_uri == uri:
                    return execution.name
        return None

    def _look(self) -> None:
        if not self._waves:
            return
        states = [self._api.execution(wave.execution) for wave in self._waves]
        # Listed after the states: what a task stored before it ended is in it.
        there = {entry.key for entry in self._storage.list(self._store.prefix)}
        for wave, state in zip(list(self._waves), states, strict=True):
            for name, (_, work) in list(wave.waiting.items()):
                key = layout.segment_record(self._store.prefix, name)
                if key in there and self._resolve(work):
                    del wave.waiting[name]
            if state.completed is not None:
                self._settle(wave, state)
            elif not wave.waiting:
                # What it took is known when it has ended.
                wave.stored = wave.stored or time.monotonic()
                if time.monotonic() - wave.stored > self._pace.finish:
                    self._waves.remove(wave)
            elif self._is_late(wave):
                self._api.cancel(wave.execution)

    def _is_late(self, wave: _Wave) -> bool:
        expected = wave.record.predicted_seconds if wave.record else 0.0
        late = _LATE_SECONDS + _LATE_FACTOR * expected
        return time.monotonic() - wave.started > late

    def _settle(self, wave: _Wave, state: ExecutionState) -> None:
        """Try again what an ended wave has lost, with more memory if that was the reason."""
        tasks = {task.index: task for task in self._api.tasks(wave.execution)}
        self._waves.remove(wave)
        self._bill(wave, state, list(tasks.values()))
        again, lost = [], []
        for index, work in wave.waiting.values():
            task = tasks.get(index)
            size = work.size + (task is not None and task.out_of_memory)
            if work.attempt < self._attempts and size < len(self._fleet.jobs):
                again.append(replace(work, attempt=work.attempt + 1, size=size))
            else:
                lost.append(work)
        with self._told:
            self._pending += again
        if lost:
            self._give_up(lost, VideoError(f"their containers were lost in {wave.execution}"))
        if again:
            self._log.warning("%d segments of the video were lost, and are tried again", len(again))

    def _bill(self, wave: _Wave, state: ExecutionState, tasks: list[TaskState]) -> None:
        if wave.record is None:
            return
        job = next(each for each in self._fleet.jobs if each.name == wave.record.render_job)
        record = replace(
            wave.record,
            completed=state.completed,
            failed_tasks=state.failed,
            billed_usd=billed_usd(tasks, job),
        )
        add_to_plan(self._storage, self._job_id, [record])

    def _end(self) -> None:
        """Stop what nobody waits for any more."""
        for wave in self._waves:
            try:
                self._api.cancel(wave.execution)
            except CloudError as error:
                self._log.error("%s may be running, stop it by hand: %s", wave.execution, error)
        self._give_up([*self._pending, *self._all_waiting()], VideoError("it was cancelled"))

    def _take_over(self) -> None:
        """Wait for what an earlier run of the job has left running; it is not started again."""
        waves = f"{self._storage.uri}/{layout.wave(self._job_id, '')}"
        for size, job in enumerate(self._fleet.jobs):
            for execution in self._api.executions(self._fleet.job_path(job)):
                wave_id = execution.wave_uri.removeprefix(waves)
                is_ours = execution.wave_uri.startswith(waves) and layout.is_segment_wave(wave_id)
                if execution.completed is not None or not is_ours:
                    continue
                try:
                    waiting = dict(self._left(wave_id, size))
                except RecordError as error:
                    self._log.warning("%s is not taken over: %s", execution.name, error)
                    continue
                self._log.info("taking over %s: segments of the video", execution.name)
                with self._told:
                    for _, work in waiting.values():
                        self._ready.setdefault(work.images, Future())
                    self._pending = [work for work in self._pending if work.name not in waiting]
                self._waves.append(_Wave(wave_id, execution.name, waiting, None))

    def _left(self, wave_id: str, size: int) -> Iterator[tuple[str, tuple[int, _Work]]]:
        prefix = layout.wave(self._job_id, wave_id)
        for task in range(len(read_index(self._storage, prefix))):
            for segment in read_share(self._storage, prefix, task).segments:
                images = tuple(
                    FrameImage(image.frame, StoredImage(self._storage, image.key), image.crc32c)
                    for image in segment.images
                )
                name = self._name(images)
                yield name, (task, _Work(images, name, 1, size))


def _key(image: FrameImage) -> str:
    picture = image.picture
    if not isinstance(picture, StoredImage):
        raise VideoError(f"frame {image.frame} is not in the storage: render it again")
    return picture.key
