"""SegmentsAhead: encodes a video's segments while its frames are rendered, at low priority.

It is told of each frame that is final, by whoever knows of it, and encodes a segment when all its
frames are. What it has not encoded in the end, encode_video does; both give the same bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import PriorityQueue

from povstorm_client.errors import StorageError
from render_image.video.segments import (
    Encoding,
    FrameImage,
    Segment,
    encode_segment,
)
from render_image.video.stored_segments import SegmentStore
from tasks.video.encode import ReadySegments
from tasks.video.segment_gathering import SegmentGathering

# Before any segment.
_STOP: tuple[int, tuple[FrameImage, ...]] = (-1, ())


class SegmentsAhead:
    """One segment at a time, the first that is complete, into the store.

    plan: the frames of each that the video is meant to have, as plan_segments gives it. on_trouble
    is told, once, why no more segments are encoded here, by another thread; that is no error of the
    video's yet. Its methods may be called by any thread.
    """

    def __init__(
        self,
        plan: Sequence[tuple[int, ...]],
        store: SegmentStore,
        encoding: Encoding,
        on_trouble: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._encoding = encoding
        self._on_trouble = on_trouble
        self._gathering = SegmentGathering(plan)
        self._told = threading.Lock()
        self._complete: PriorityQueue[tuple[int, tuple[FrameImage, ...]]] = PriorityQueue()
        self._ready: dict[tuple[FrameImage, ...], Future[Segment]] = {}
        self._cancelled = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="povstorm-segments")
        self._thread.start()

    def frame_is_final(self, frame: int, image: FrameImage | None) -> None:
        """Take this for the frame's image, for good; None: it has none, since it failed."""
        with self._told:
            complete = self._gathering.frame_is_final(frame, image)
        if complete is not None:
            self._complete.put(complete)

    def ready(self) -> ReadySegments:
        """The segments that are encoded, or being."""
        with self._told:
            return dict(self._ready)

    def stop(self) -> ReadySegments:
        """Begin no further segment; returns those that are encoded, or being."""
        self._complete.put(_STOP)
        with self._told:
            self._stopped = True
        return self.ready()

    def cancel(self) -> None:
        """Have its thread end, and what is being encoded; does not wait for that."""
        self._cancelled.set()
        self._complete.put(_STOP)

    def close(self) -> None:
        """Cancel, and wait for it; what is encoded stays, for whoever makes the video."""
        self.cancel()
        self._thread.join()

    def _run(self) -> None:
        has_alpha = False
        while (complete := self._complete.get()) != _STOP:
            _, images = complete
            with self._told:
                if self._stopped or not images:
                    continue
                ready = self._ready[images] = Future()
            try:
                segment = encode_segment(
                    images,
                    self._store,
                    self._encoding,
                    has_alpha=has_alpha,
                    cancelled=self._cancelled,
                    low_priority=True,
                )
            except Exception as error:
                self._give_up(ready, error)
                return
            has_alpha = has_alpha or segment.stored.some_have_alpha
            ready.set_result(segment)

    def _give_up(self, ready: Future[Segment], error: Exception) -> None:
        """Leave the room to what is rendered: want of it may be the error."""
        with self._told:
            if not self._stopped:
                for segment in (
                    each.result() for each in self._ready.values() if each is not ready
                ):
                    with suppress(StorageError):
                        self._store.remove(segment.stored)
                self._ready = {}
        ready.set_exception(error)
        if not self._cancelled.is_set():
            self._on_trouble(error)
