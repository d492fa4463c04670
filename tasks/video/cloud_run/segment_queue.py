"""SegmentQueue: a video's segments from their last frame until who encodes them has begun.

SegmentWaves takes from it, while whoever renders tells it of frames: its methods may be called by
any thread.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future

from render_image.video.segments import Encoding, FrameImage, Segment
from render_image.video.stored_segments import SegmentStore
from tasks.video.cloud_run.segment_wave import WaitingSegment
from tasks.video.encode import ReadySegments
from tasks.video.segment_gathering import SegmentGathering


class SegmentQueue:
    """plan: the frames of each that the video is meant to have; store: where segments are kept."""

    def __init__(
        self, plan: Sequence[tuple[int, ...]], store: SegmentStore, encoding: Encoding
    ) -> None:
        self._store = store
        self._encoding = encoding
        self._gathering = SegmentGathering(plan)
        self._ready: dict[tuple[FrameImage, ...], Future[Segment]] = {}
        # By name, which segments of equal pictures share: what becomes of one becomes of all.
        self._pending: dict[str, WaitingSegment] = {}
        self._named: dict[str, set[tuple[FrameImage, ...]]] = defaultdict(set)
        self._stopped = False
        self._changing = threading.Lock()

    def frame_is_final(self, frame: int, image: FrameImage | None) -> None:
        """Take this for the frame's image, for good; None: it has none, since it failed."""
        with self._changing:
            complete = self._gathering.frame_is_final(frame, image)
            if complete is None:
                return
            _, images = complete
            if images and images not in self._ready and not self._stopped:
                segment = WaitingSegment.of(images, self._encoding)
                self._expect(segment)
                self._pending[segment.name] = segment

    def stop(self) -> ReadySegments:
        """No further frame is told of; returns the segments that are encoded, or will be."""
        with self._changing:
            self._stopped = True
            return dict(self._ready)

    @property
    def is_stopped(self) -> bool:
        """Whether no further segment will come."""
        with self._changing:
            return self._stopped

    @property
    def is_done(self) -> bool:
        """Whether of each segment, and no further one will come, it is known what became of it."""
        with self._changing:
            return self._stopped and all(future.done() for future in self._ready.values())

    @property
    def all_came(self) -> bool:
        """Whether no further segment will come, as all frames are final or none is told of."""
        with self._changing:
            return self._stopped or not self._gathering.missing

    @property
    def missing(self) -> int:
        """How many frames are not final."""
        with self._changing:
            return self._gathering.missing

    def left(self) -> list[int]:
        """The frames of each segment that is in no wave: how many, the missing ones included."""
        with self._changing:
            pending = [len(segment.images) for segment in self._pending.values()]
            return [*pending, *self._gathering.incomplete]

    @property
    def segments(self) -> int:
        """How many the video has."""
        return self._gathering.segments

    def pending(self) -> list[WaitingSegment]:
        """Those that are in no wave."""
        with self._changing:
            return list(self._pending.values())

    def take(self, segments: Iterable[WaitingSegment]) -> None:
        """Somebody encodes these, also where they are not of this run: they wait no more here."""
        with self._changing:
            for segment in segments:
                self._expect(segment)
                self._pending.pop(segment.name, None)

    def _expect(self, segment: WaitingSegment) -> None:
        self._ready.setdefault(segment.images, Future())
        self._named[segment.name].add(segment.images)

    def again(self, segments: Iterable[WaitingSegment]) -> None:
        """These were taken, and are to be encoded by another wave."""
        with self._changing:
            self._pending |= {segment.name: segment for segment in segments}

    def find(self, segment: WaitingSegment) -> bool:
        """Whether the segment is stored: that is the end of it."""
        stored = self._store.find(segment.name)
        if stored is None or stored.frames != len(segment.images):
            return False
        self.take([segment])
        with self._changing:
            found = [(images, self._ready[images]) for images in self._named[segment.name]]
        for images, future in found:
            if not future.done():
                future.set_result(Segment(images, stored))
        return True

    def clear_unfinished(self, segments: Iterable[WaitingSegment]) -> None:
        """Delete what others have left of segments that are not whole; StorageError."""
        self._store.clear_unfinished({segment.name for segment in segments})

    def give_up(self, segments: Sequence[WaitingSegment], error: Exception) -> None:
        """Leave these to encode_video, for this reason."""
        with self._changing:
            for segment in segments:
                self._pending.pop(segment.name, None)
            named = (images for segment in segments for images in self._named[segment.name])
            futures = [self._ready[images] for images in named]
        # Outside: who waits for one may ask something in turn.
        for future in futures:
            if not future.done():
                future.set_exception(error)

    def end(self, taken: Sequence[WaitingSegment], error: Exception) -> int:
        """Nobody encodes any more: leave all, and of the taken ones these, to encode_video.

        Those whose last frame comes later are left to it too. Returns how many are left.
        """
        with self._changing:
            self._stopped = True
            left = [*self._pending.values(), *taken]
        self.give_up(left, error)
        return len(left)
