"""What array tasks render when: their own frames, then what others have not come to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.cloud_run.wave_claim import DISPATCHER, Claim, claim, first_open, read_claims
from povstorm_client.cloud_run.wave_share import (
    WaveFrame,
    WaveShare,
    read_index,
    read_share,
    write_wave,
)
from povstorm_client.errors import StorageError
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import StoredObject
from render_image.frame_queue import FrameQueue
from tasks.renderers.cloud_run.frame_wave import FrameWave, lost_frames

JOB = "orbit-1"
WAVE = layout.wave(JOB, "w1")


@pytest.fixture
def queues(storage: FolderStorage) -> Callable[..., list[FrameQueue]]:
    """A function that stores shares of so many frames; returns the queue of each task."""

    def make(*sizes: int) -> list[FrameQueue]:
        store_shares(storage, *sizes)
        return [queue(storage, task) for task in range(len(sizes))]

    return make


def store_shares(storage: FolderStorage, *sizes: int) -> None:
    """Frames 1, 2, … in shares of the given sizes."""
    settings = RenderSettings("a.pov", 32, 24, final_frame=sum(sizes))
    frames = iter(range(1, sum(sizes) + 1))
    shares = []
    for size in sizes:
        units = [
            WorkUnit(settings, next(frames)).assigned(
                job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB)
            )
            for _ in range(size)
        ]
        shares.append(WaveShare(tuple(WaveFrame(unit, 1, True, 0.0) for unit in units), None))
    write_wave(storage, WAVE, shares)


def queue(storage: FolderStorage, task: int, *, again: bool = False) -> FrameQueue:
    return FrameQueue(storage, WAVE, task, read_share(storage, WAVE, task), again=again)


def own(queue: FrameQueue) -> list[int]:
    return take_all(queue.next_own)


def others(queue: FrameQueue) -> list[int]:
    return take_all(queue.next_of_others)


def take_all(take) -> list[int]:
    async def work() -> list[int]:
        frames = []
        while (frame := await take()) is not None:
            frames.append(frame.unit.frame)
        return frames

    return asyncio.run(work())


def test_a_task_renders_its_own_frames_in_their_order(queues):
    first, second = queues(5, 4)
    assert own(first) == [1, 2, 3, 4, 5]
    assert own(second) == [6, 7, 8, 9]
    assert others(first) == others(second) == []


def test_a_task_that_is_done_takes_the_last_open_frames_of_another(queues):
    first, second = queues(4, 6)
    assert own(first) == [1, 2, 3, 4]
    assert others(first) == [10, 9, 8]  # the first half of a share is its task's alone
    assert own(second) == [5, 6, 7]


def test_the_task_with_most_open_frames_is_helped_first(queues):
    first, _, _ = queues(2, 4, 8)
    own(first)
    assert others(first)[:2] == [14, 13]


class Unlisted(FolderStorage):
    """As a bucket is to who may not list it: what is not there is forbidden, not missing."""

    def stat(self, key: str) -> StoredObject | None:
        found = super().stat(key)
        if found is None:
            raise StorageError(f"cannot look at {key}: permission denied")
        return found


def test_a_task_that_may_not_list_helps_others(storage: FolderStorage, tmp_path: Path):
    store_shares(storage, 2, 6)
    unlisted = Unlisted(tmp_path / "storage")
    assert unlisted.uri == storage.uri
    helper = queue(unlisted, 0)
    assert own(helper) == [1, 2]
    assert others(helper) == [8, 7, 6]


@pytest.mark.parametrize(("frames", "asks"), [(2, 1), (8, 1), (20, 2)])
def test_a_task_that_finds_all_claimed_asks_once_for_ten_frames_of_its_own(
    frames: int, asks: int, storage: FolderStorage
):
    class Counted(FolderStorage):
        creates = 0

        def create_or_read(self, key: str, data: bytes) -> bytes:
            self.creates += 1
            return super().create_or_read(key, data)

    store_shares(storage, *[frames] * 12)
    for task in range(1, 12):
        own(queue(storage, task))
    counted = Counted(Path(storage.uri.removeprefix("file://")))
    assert others(queue(counted, 0)) == []
    assert counted.creates == asks


@pytest.mark.parametrize("behind", [0, 4, 11])
def test_whichever_task_is_behind_others_find_all_that_it_has_left(
    behind: int, storage: FolderStorage
):
    store_shares(storage, *[8] * 12)
    done = [queue(storage, task) for task in range(12) if task != behind]
    for task in done:
        own(task)
    taken = [others(task) for task in done]
    assert sorted(taken)[:-1] == [[]] * 10
    first = 8 * behind + 1
    assert max(taken) == [first + 7, first + 6, first + 5, first + 4]


def test_a_task_asks_for_none_of_its_frames_behind_one_that_another_has(storage: FolderStorage):
    asked: list[str] = []

    class Counted(FolderStorage):
        def create_or_read(self, key: str, data: bytes) -> bytes:
            asked.append(key)
            return super().create_or_read(key, data)

    store_shares(storage, 2, 12)
    helper = queue(storage, 0)
    own(helper)
    taken = [asyncio.run(helper.next_of_others()) for _ in range(4)]
    assert [frame.unit.frame for frame in taken if frame] == [14, 13, 12, 11]
    counted = Counted(Path(storage.uri.removeprefix("file://")))
    assert own(queue(counted, 1)) == list(range(3, 11))
    assert len(asked) == 3  # two that it got, and the one that it did not


def test_a_claim_without_an_answer_leaves_its_frame_to_be_asked_for_again(
    storage: FolderStorage, tmp_path: Path
):
    class FailsOnce(FolderStorage):
        has_failed = False

        def create_or_read(self, key: str, data: bytes) -> bytes:
            if not self.has_failed:
                self.has_failed = True
                raise StorageError("no answer")
            return super().create_or_read(key, data)

    store_shares(storage, 1, 6)
    helper = queue(FailsOnce(tmp_path / "storage"), 0)
    helper._others = None  # as of a task with more frames
    with pytest.raises(StorageError, match="no answer"):
        asyncio.run(helper.next_of_others())
    assert others(helper)[0] == 7


def test_a_frame_that_has_its_container_for_itself_keeps_it(queues):
    alone, busy = queues(1, 8)
    assert own(alone) == [1]
    assert others(alone) == []
    assert own(busy) == list(range(2, 10))


@given(sizes=st.lists(st.integers(1, 7), min_size=1, max_size=5), seed=st.randoms())
def test_in_whichever_order_tasks_work_each_frame_is_rendered_once(
    tmp_path_factory, sizes: list[int], seed
):
    storage = FolderStorage(tmp_path_factory.mktemp("storage"))
    store_shares(storage, *sizes)
    tasks = [queue(storage, task) for task in range(len(sizes))]

    async def work() -> Counter[int]:
        rendered: Counter[int] = Counter()

        async def drain(task: FrameQueue) -> None:
            while frame := await task.next_own() or await task.next_of_others():
                rendered[frame.unit.frame] += 1
                for _ in range(seed.randrange(4)):
                    await asyncio.sleep(0)

        await asyncio.gather(*(drain(task) for task in tasks for _ in range(2)))
        return rendered

    assert asyncio.run(work()) == Counter(range(1, sum(sizes) + 1))


def test_another_container_of_a_task_takes_over_the_claims_of_the_lost_one(
    storage: FolderStorage, queues
):
    (first,) = queues(4)
    own(first)
    assert own(queue(storage, 0, again=True)) == [1, 2, 3, 4]
    # Delivered twice, both are alive: what one has claimed, the other leaves to it.
    assert own(queue(storage, 0)) == [1, 2]


def test_a_frame_is_claimed_once(storage: FolderStorage):
    assert claim(storage, WAVE, "unit", Claim(3, "a")) == Claim(3, "a")
    assert claim(storage, WAVE, "unit", Claim(3, "b")) == Claim(3, "a")
    assert read_claims(storage, WAVE, {"unit", "another"}) == {"unit": Claim(3, "a")}
    assert read_claims(storage, WAVE, {"another"}) == {}


def test_a_claim_that_is_not_readable_is_named(storage: FolderStorage):
    storage.write(layout.wave_claim(WAVE, "unit"), b"{")
    with pytest.raises(StorageError, match=r"claims/unit\.json is not readable"):
        read_claims(storage, WAVE, {"unit"})
    with pytest.raises(StorageError, match=r"claims/unit\.json is not readable"):
        claim(storage, WAVE, "unit", Claim(3, "a"))
    assert read_claims(storage, WAVE, {"another"}) == {}


@given(st.integers(1, 10_000))
def test_the_first_half_of_a_share_is_never_open(frames: int):
    assert frames / 2 <= first_open(frames) <= frames / 2 + 0.5


class TestLostFrames:
    """Which frames the dispatcher gives to the next wave when a container is lost."""

    @pytest.fixture
    def wave(self, storage: FolderStorage) -> FrameWave:
        store_shares(storage, 4, 4)
        return FrameWave("w1", WAVE, read_index(storage, WAVE), 0, 0.0, 0.0)

    def test_all_of_its_share_that_nobody_has_claimed(
        self, storage: FolderStorage, wave: FrameWave
    ):
        assert lost_frames(storage, wave, {0}, set(wave.units)) == {0: wave.shares[0]}

    def test_nobody_takes_them_afterwards(self, storage: FolderStorage, wave: FrameWave):
        lost_frames(storage, wave, {0}, set(wave.units))
        helper = queue(storage, 1)
        own(helper)
        assert others(helper) == []

    def test_not_what_another_has_claimed(self, storage: FolderStorage, wave: FrameWave):
        taken = wave.shares[0][3]
        claim(storage, WAVE, taken, Claim(1, "a"))
        assert lost_frames(storage, wave, {0}, set(wave.units)) == {0: wave.shares[0][:3]}
        assert lost_frames(storage, wave, {0, 1}, {taken}) == {1: [taken]}

    def test_what_it_claimed_of_others(self, storage: FolderStorage, wave: FrameWave):
        taken = wave.shares[1][3]
        claim(storage, WAVE, taken, Claim(0, "a"))
        assert lost_frames(storage, wave, {0}, {taken, *wave.shares[1]}) == {0: [taken]}

    def test_what_an_earlier_dispatcher_gave_up_and_stored_nothing_of(
        self, storage: FolderStorage, wave: FrameWave
    ):
        given_up = wave.shares[0][3]
        claim(storage, WAVE, given_up, Claim(DISPATCHER))
        assert lost_frames(storage, wave, {0}, {given_up}) == {0: [given_up]}

    def test_nothing_that_has_a_result(self, storage: FolderStorage, wave: FrameWave):
        assert lost_frames(storage, wave, {0, 1}, set()) == {}
