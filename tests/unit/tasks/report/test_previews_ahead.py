"""Previews that are made while frames render are those of the report, within its budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from povstorm_client.errors import StorageError
from povstorm_client.frames.result import FrameResult
from tasks.report.facts import FrameFacts
from tasks.report.previews import ReadyPreviews, make_previews
from tasks.report.previews_ahead import PreviewsAhead
from tests.synthetic_job import picture

FRAMES = range(1, 21)
PICTURES = {frame: picture(frame, 320, 180) for frame in FRAMES}


def result(frame: int) -> FrameResult:
    return FrameResult(
        work_unit_id=f"u{frame}",
        job_id="a-1",
        frame=frame,
        state="rendered",
        attempt=1,
        host="here",
        started=1.0,
        ended=2.0,
        image=f"frame_{frame}.png",
    )


def facts(frame: int) -> FrameFacts:
    return FrameFacts(frame, 0.0, 0.0, "rendered", image=f"frame_{frame}.png")


@contextmanager
def ahead() -> Iterator[PreviewsAhead]:
    made = PreviewsAhead(FRAMES, lambda result: PICTURES[result.frame])
    try:
        yield made
    finally:
        made.stop()


def all_made(previews: PreviewsAhead, count: int) -> ReadyPreviews:
    while previews._ready is None or len(previews._ready.images) < count:
        time.sleep(0.01)
    ready = previews.stop()
    assert ready is not None
    return ready


def test_they_are_taken_and_their_images_are_not_read_again():
    with ahead() as previews:
        for frame in FRAMES:
            previews.frame_is_final(result(frame))
        ready = all_made(previews, 20)
    read: list[int] = []

    def reading(frame: FrameFacts) -> bytes:
        read.append(frame.frame)
        return PICTURES[frame.frame]

    made = make_previews([facts(frame) for frame in FRAMES], reading, wanted=[3], ready=ready)

    assert read == []
    assert made.images == ready.images
    assert made == make_previews([facts(frame) for frame in FRAMES], reading, wanted=[3])


def test_what_is_not_ready_is_made_at_the_end():
    with ahead() as previews:
        for frame in range(1, 11):
            previews.frame_is_final(result(frame))
        ready = all_made(previews, 10)
    made = make_previews(
        [facts(frame) for frame in FRAMES], lambda frame: PICTURES[frame.frame], ready=ready
    )
    assert sorted(made.images) == list(FRAMES)
    assert {frame: made.images[frame] for frame in ready.images} == ready.images


def test_of_frames_that_failed_or_cannot_be_read_there_is_none_and_the_others_have_theirs():
    with ahead() as previews:
        previews.frame_is_final(replace(result(1), state="failed", image=""))
        previews.frame_is_final(replace(result(2), frame=99))
        for frame in range(3, 21):
            previews.frame_is_final(result(frame))
        assert sorted(all_made(previews, 18).images) == list(range(3, 21))


def test_where_none_can_be_read_only_some_are_tried():
    frames = range(1, 201)
    tried: list[int] = []

    def unreadable(result: FrameResult) -> bytes:
        tried.append(result.frame)
        raise StorageError("denied")

    previews = PreviewsAhead(frames, unreadable)
    for frame in frames:
        previews.frame_is_final(result(frame))
    while previews._final.qsize():
        time.sleep(0.01)

    assert previews.stop() is None
    assert 0 < len(tried) < 50


def test_where_they_turn_out_too_large_all_are_made_anew_within_the_budget():
    everything = [facts(frame) for frame in FRAMES]
    with ahead() as previews:
        for frame in FRAMES:
            previews.frame_is_final(result(frame))
        ready = all_made(previews, 20)
    budget = sum(map(len, ready.images.values())) // 2

    made = make_previews(
        everything, lambda frame: PICTURES[frame.frame], ready=ready, budget=budget
    )

    assert sorted(made.images) == list(FRAMES)
    assert sum(map(len, made.images.values())) <= budget


def test_with_too_few_frames_to_tell_their_size_there_are_none():
    with ahead() as previews:
        previews.frame_is_final(result(1))
        assert previews.stop() is None
