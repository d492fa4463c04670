"""Tasks that were started ahead are given segments, each once, by however many runs of the job."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from povstorm_client.cloud_run.given_segments import Gift, look_for, read_given
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.cloud_run.wave_plan import WavePlan
from povstorm_client.cloud_run.wave_share import write_wave
from povstorm_client.errors import StorageError
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.video.segments import Encoding, FrameImage, StoredImage
from tasks.video.cloud_run.segment_wave import SegmentWave, WaitingSegment, read_left_wave

JOB = "orbit-1"
WAVE = "v0001-test"
ENCODING = Encoding(Path("video.mp4"), Fraction(24), "retry", "ffmpeg", "ffprobe")


def segment(storage: FolderStorage, number: int) -> WaitingSegment:
    image = StoredImage(storage, f"{layout.output(JOB)}/frame_{number}.png")
    return WaitingSegment.of((FrameImage(number, image, f"crc{number}"),), ENCODING)


def opened(storage: FolderStorage, tasks: int = 2) -> SegmentWave:
    """A wave whose tasks wait."""
    wave = SegmentWave(
        WAVE, layout.wave(JOB, WAVE), [[] for _ in range(tasks)], 0, submitted=0.0, launched=0.0,
        patience=60.0, open=dict.fromkeys(range(tasks), 0),
    )  # fmt: skip
    write_wave(storage, wave.prefix, wave.waiting_shares(ENCODING))
    return wave


def given(storage: FolderStorage, wave: SegmentWave) -> dict[int, list[int | None]]:
    """The first frame of each segment that a task was given, None for its end."""
    return {
        task: [gift.segment and gift.segment.images[0].frame for gift in gifts]
        for task, gifts in read_given(storage, wave.prefix).items()
    }


def test_who_has_the_least_to_do_is_given_the_next(storage: FolderStorage):
    wave = opened(storage)
    first = [segment(storage, number) for number in range(3)]
    assert wave.give(storage, first, ENCODING) == first
    del wave.waiting[first[0].name], wave.waiting[first[2].name]  # encoded
    wave.give(storage, [segment(storage, 3)], ENCODING)
    wave.end_tasks(storage)
    assert given(storage, wave) == {0: [0, 2, 3, None], 1: [1, None]}
    assert wave.give(storage, [segment(storage, 4)], ENCODING) == []


def test_no_task_is_given_more_than_it_was_started_for(storage: FolderStorage):
    wave = opened(storage)
    segments = [segment(storage, number) for number in range(5)]
    assert wave.give(storage, segments, ENCODING, most=2) == segments[:4]
    assert wave.give(storage, segments[4:], ENCODING, most=2) == []
    del wave.waiting[segments[1].name]
    assert wave.give(storage, segments[4:], ENCODING, most=2) == segments[4:]
    assert given(storage, wave) == {0: [0, 2], 1: [1, 3, 4]}


def test_a_segment_is_with_the_task_that_was_given_it_last(storage: FolderStorage):
    wave = opened(storage)
    again = segment(storage, 0)
    wave.give(storage, [again], ENCODING)
    del wave.open[0]
    wave.give(storage, [again], ENCODING)
    assert wave.task_of(again.name) == 1


def test_a_further_run_goes_on_where_the_one_before_was_killed(storage: FolderStorage):
    before = opened(storage, tasks=3)
    before.give(storage, [segment(storage, number) for number in range(2)], ENCODING)
    del before.open[0], before.open[1]
    before.end_tasks(storage)

    wave = read_left_wave(storage, JOB, ENCODING, WAVE, 0)

    assert wave.open == {0: 1, 1: 1}
    assert sorted(wave.waiting) == sorted(before.waiting)
    wave.give(storage, [segment(storage, 2)], ENCODING)
    assert given(storage, wave) == {0: [0, 2], 1: [1], 2: [None]}


def test_none_is_missing_before_what_a_task_has(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    wave = opened(storage, tasks=1)
    create = FolderStorage.create

    def fail_at_the_second(storage: FolderStorage, key: str, data: bytes) -> bool:
        if key == layout.wave_gift(wave.prefix, 0, 1):
            raise StorageError("killed here")
        return create(storage, key, data)

    monkeypatch.setattr(FolderStorage, "create", fail_at_the_second)
    with pytest.raises(StorageError):
        wave.give(storage, [segment(storage, number) for number in range(4)], ENCODING)
    assert given(storage, wave) == {0: [0]}
    assert read_left_wave(storage, JOB, ENCODING, WAVE, 0).open == {0: 1}


def test_two_runs_at_once_take_nothing_from_each_other(storage: FolderStorage):
    one, other = opened(storage), opened(storage)
    one.give(storage, [segment(storage, number) for number in range(3)], ENCODING)
    theirs = [segment(storage, number) for number in (3, 4)]
    assert set(other.give(storage, theirs, ENCODING)) == set(theirs)
    assert given(storage, one) == {0: [0, 2, 3], 1: [1, 4]}
    other.end_tasks(storage)
    assert one.give(storage, [segment(storage, 5)], ENCODING) == []
    assert one.open == {}


def test_with_fewer_tasks_none_is_open_but_those(storage: FolderStorage):
    wave = opened(storage, tasks=5)
    wave.shrink(WavePlan(CloudRunJob("small", 1, 512, 4, 0, 600), 5, 2, 90.0, 0.01))
    assert (wave.tasks, wave.open) == (2, {0: 0, 1: 0})


def test_what_is_not_there_yet_is_looked_for_again(storage: FolderStorage):
    wave = opened(storage)
    assert look_for(storage, wave.prefix, 0, 0) == "not yet"
    wave.end_tasks(storage)
    assert look_for(storage, wave.prefix, 0, 0) == Gift(None)
