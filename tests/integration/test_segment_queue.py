"""A video's segments wait for containers, and none is forgotten, whatever becomes of those."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from povstorm_client.errors import CloudError
from povstorm_client.storage.folder import FolderStorage
from render_image.video.segments import Encoding, FrameImage, StoredImage, plan_segments
from render_image.video.stored_segments import StoredSegment
from tasks.video.cloud_run.segment_queue import SegmentQueue
from tasks.video.cloud_run.segment_wave import WaitingSegment
from tasks.video.job_video import segment_store

FRAMES = range(1, 61)
PLAN = plan_segments(FRAMES)


@pytest.fixture
def queue(storage: FolderStorage) -> SegmentQueue:
    encoding = Encoding.of(Path("video.mp4"), Fraction(24), "retry")
    return SegmentQueue(PLAN, segment_store(storage, "orbit-1"), encoding)


def tell(queue: SegmentQueue, storage: FolderStorage, *segments: int) -> None:
    """Have all frames of these segments final."""
    for segment in segments:
        for frame in PLAN[segment]:
            queue.frame_is_final(frame, FrameImage(frame, StoredImage(storage, f"{frame}"), "x"))


def frames_of(queue: SegmentQueue) -> list[list[int]]:
    return [[image.frame for image in segment.images] for segment in queue.pending()]


def test_a_segment_waits_once_its_last_frame_is_final(queue: SegmentQueue, storage: FolderStorage):
    assert frames_of(queue) == []
    tell(queue, storage, 1)
    assert frames_of(queue) == [list(PLAN[1])]


def test_a_segment_that_is_taken_waits_again_only_if_it_is_lost(
    queue: SegmentQueue, storage: FolderStorage
):
    tell(queue, storage, 0, 1)
    first, second = queue.pending()
    queue.take([first, second])
    assert queue.pending() == []
    queue.again([second])
    assert queue.pending() == [second]


def test_of_what_is_given_up_the_video_learns_why(queue: SegmentQueue, storage: FolderStorage):
    tell(queue, storage, 0, 1)
    queue.give_up(queue.pending()[:1], CloudError("no", "refused"))
    ready = queue.stop()
    assert [future.done() for future in ready.values()] == [True, False]
    assert isinstance(next(iter(ready.values())).exception(), CloudError)
    assert not queue.is_done


def test_after_its_end_nobody_waits_for_a_segment_that_nobody_encodes(
    queue: SegmentQueue, storage: FolderStorage
):
    """Also not for one whose last frame is final only then."""
    tell(queue, storage, 0)
    taken = queue.pending()
    queue.take(taken)
    tell(queue, storage, 1)
    assert queue.end(taken, CloudError("no", "refused")) == 2
    tell(queue, storage, 2)
    assert [future.done() for future in queue.stop().values()] == [True, True]
    assert queue.is_done


def still(storage: FolderStorage) -> SegmentQueue:
    """Segments of a picture that does not change, all of them final."""
    encoding = Encoding.of(Path("video.mp4"), Fraction(24), "retry")
    frames = range(1, 601)
    queue = SegmentQueue(plan_segments(frames), segment_store(storage, "orbit-1"), encoding)
    for frame in frames:
        queue.frame_is_final(frame, FrameImage(frame, StoredImage(storage, "still"), "x"))
    return queue


def stored(segment: WaitingSegment) -> StoredSegment:
    return StoredSegment(
        name=segment.name, frames=len(segment.images), width=96, height=64, codec="h264",
        has_alpha=False, some_have_alpha=False, ffmpeg="5.1", parts=(), table=None,
    )  # fmt: skip


def test_segments_of_equal_pictures_are_encoded_once_and_all_found(storage: FolderStorage):
    queue = still(storage)
    ready = queue.stop()
    pending = queue.pending()
    assert len(pending) < len(ready)
    queue.take(pending)
    store = segment_store(storage, "orbit-1")
    for segment in pending:
        store.commit(stored(segment))
        assert queue.find(segment)
    assert all(future.result().images == images for images, future in ready.items())
    assert queue.is_done


def test_segments_of_equal_pictures_are_given_up_together(storage: FolderStorage):
    queue = still(storage)
    ready = queue.stop()
    queue.give_up(queue.pending(), CloudError("no", "refused"))
    assert all(future.done() for future in ready.values())


def test_at_its_end_segments_of_equal_pictures_are_left_together(storage: FolderStorage):
    queue = still(storage)
    taken = queue.pending()[:1]
    queue.take(taken)
    queue.end(taken, CloudError("no", "refused"))
    assert queue.is_done
