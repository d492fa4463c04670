"""SegmentWave: segments of a video that one Cloud Run execution encodes, spread over its tasks."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from povstorm_client.cloud_run.given_segments import Gift, give, look_for, read_given
from povstorm_client.cloud_run.wave_plan import WavePlan
from povstorm_client.cloud_run.wave_share import (
    SegmentImage,
    SegmentWork,
    WaveShare,
    read_index,
    read_share,
)
from povstorm_client.errors import VideoError
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage
from render_image.video.segments import Encoding, FrameImage, StoredImage, segment_name
from tasks.waves.wave import Wave


@dataclass(frozen=True, eq=False)
class WaitingSegment:
    """A segment to be encoded; attempt counts from 1, size is the index of a render job."""

    name: str
    images: tuple[FrameImage, ...]
    attempt: int = 1
    size: int = 0

    @classmethod
    def of(
        cls, images: tuple[FrameImage, ...], encoding: Encoding, size: int = 0
    ) -> WaitingSegment:
        """Of these images, none of which is known to have transparency: the first one decides."""
        return cls(segment_name(images, encoding, has_alpha=False), images, size=size)

    def work(self, encoding: Encoding) -> SegmentWork:
        """What a container is told of it; VideoError for an image that is not in the storage."""
        images = tuple(
            SegmentImage(image.frame, _key(image), image.crc32c) for image in self.images
        )
        return SegmentWork(
            images,
            encoding.ending,
            str(encoding.fps),
            has_alpha=False,
            options=encoding.options,
        )


@dataclass(eq=False)
class SegmentWave(Wave[WaitingSegment]):
    """A wave of segments; stored: since when none waits, in seconds of the event loop's clock.

    patience: of one that was started ahead, whose tasks are given segments while they run, the
    seconds for which each waits in all. open: of its tasks that may be given more, the number
    of what each is given next. most_each: how many segments each was started for; None where that
    is not known.
    """

    stored: float | None = None
    patience: float | None = None
    open: dict[int, int] = field(default_factory=dict)
    most_each: int | None = None

    def task_of(self, name: str) -> int:
        """The index of the task that encodes the segment of this name."""
        return next(task for task, share in enumerate(self.shares) if name in share)

    def waiting_shares(self, encoding: Encoding) -> list[WaveShare]:
        """The share of each task, of what waits; VideoError for an image that is not stored."""
        return [
            WaveShare(
                (),
                None,
                segments=tuple(
                    self.waiting[name].work(encoding) for name in share if name in self.waiting
                ),
                patience=self.patience,
            )
            for share in self.shares
        ]

    def shrink(self, plan: WavePlan) -> None:
        """Do without the last tasks, none of which was given anything yet; plan: of the others."""
        self.plan = plan
        self.shares = self.shares[: plan.tasks]
        self.open = dict.fromkeys(range(self.tasks), 0)

    def give(
        self,
        storage: Storage,
        segments: Sequence[WaitingSegment],
        encoding: Encoding,
        most: int | None = None,
    ) -> list[WaitingSegment]:
        """Have the open tasks that have the least to do encode these; returns those that are given.

        None are once no task is open any more, or each has so many to encode.
        """
        given = []
        left = list(segments)
        while left and self.open:
            load = {task: len(self._left(task)) for task in self.open}
            tasks: list[int] = []
            for _ in left:
                task = min(load, key=lambda task: (load[task], task))
                if most is not None and load[task] >= most:
                    break
                tasks.append(task)
                load[task] += 1
            if not tasks:
                break
            offered, left = left[: len(tasks)], left[len(tasks) :]
            gifts = [Gift(segment.work(encoding)) for segment in offered]
            taken = self._gave(storage, list(zip(tasks, gifts, strict=True)))
            for segment, task, is_given in zip(offered, tasks, taken, strict=True):
                if is_given:
                    self._note_given(segment, task)
                    given.append(segment)
                else:
                    left.append(segment)
        return given

    def end_tasks(self, storage: Storage) -> None:
        """Tell all open tasks that nothing more will come."""
        while self.open:
            tasks = list(self.open)
            for task, is_told in zip(
                tasks, self._gave(storage, [(task, Gift(None)) for task in tasks]), strict=True
            ):
                if is_told:
                    self.open.pop(task, None)

    def _gave(self, storage: Storage, gifts: Sequence[tuple[int, Gift]]) -> list[bool]:
        """Give tasks these, in their order; False for what another run of the job was faster with.

        What that has given is counted, so that the next try is behind it. A task is given one after
        another: killed in between, none is missing before what it has, for which it would wait.
        """
        places: list[tuple[int, int, Gift]] = []
        of_task: dict[int, list[int]] = defaultdict(list)
        for task, gift in gifts:
            of_task[task].append(len(places))
            places.append((task, self.open[task], gift))
            self.open[task] += 1
        written = [False] * len(places)

        def write(indices: list[int]) -> None:
            for index in indices:
                written[index] = give(storage, self.prefix, *places[index])

        for _ in in_parallel(write, of_task.values()):
            pass
        for (task, number, _), is_given in zip(places, written, strict=True):
            if not is_given and look_for(storage, self.prefix, task, number) == Gift(None):
                self.open.pop(task, None)
        return written

    def _note_given(self, segment: WaitingSegment, task: int) -> None:
        for share in self.shares:
            if segment.name in share:
                share.remove(segment.name)  # of a task that has not encoded it
        self.shares[task].append(segment.name)
        self.waiting[segment.name] = replace(segment, size=self.size)

    def _left(self, task: int) -> list[str]:
        return [name for name in self.shares[task] if name in self.waiting]


def read_left_wave(
    storage: Storage, job_id: str, encoding: Encoding, wave_id: str, size: int
) -> SegmentWave:
    """A wave that an earlier run of the job has stored; RecordError if it is not readable.

    Of one that was started ahead, those tasks are open that were not told that nothing will come.
    """
    prefix = layout.wave(job_id, wave_id)
    stored = [read_share(storage, prefix, task) for task in range(len(read_index(storage, prefix)))]
    works = [list(share.segments) for share in stored]
    patience = next((share.patience for share in stored), None)
    open_tasks: dict[int, int] = {}
    if patience is not None:
        given = read_given(storage, prefix)
        for task, segments in enumerate(works):
            gifts = [gift.segment for gift in given.get(task, [])]
            segments += [segment for segment in gifts if segment is not None]
            if None not in gifts:
                open_tasks[task] = len(gifts)
    shares = [
        [WaitingSegment.of(_stored_images(storage, work), encoding, size) for work in segments]
        for segments in works
    ]
    return SegmentWave(
        wave_id,
        prefix,
        [[segment.name for segment in share] for share in shares],
        size,
        submitted=time.time(),
        launched=0.0,
        waiting={segment.name: segment for share in shares for segment in share},
        patience=patience,
        open=open_tasks,
    )


def _stored_images(storage: Storage, work: SegmentWork) -> tuple[FrameImage, ...]:
    return tuple(
        FrameImage(image.frame, StoredImage(storage, image.key), image.crc32c)
        for image in work.images
    )


def _key(image: FrameImage) -> str:
    picture = image.picture
    if not isinstance(picture, StoredImage):
        raise VideoError(f"frame {image.frame} is not in the storage: render it again")
    return picture.key
