"""What a lost container leaves is out of the way of the next one, which can replace nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from povstorm_client.cloud_run.api import NOT_LET_IN, TaskState
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.scene_estimate import Estimate
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.errors import StorageError
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tasks.renderers.cloud_run.frame_wave import FrameWave, WaitingFrame
from tasks.renderers.cloud_run.gathering import Gathering
from tasks.renderers.cloud_run.outcomes import Outcomes
from tasks.renderers.cloud_run.wave_board import WaveBoard
from tasks.renderers.cloud_run.wave_planner import Kind, WavePlanner
from tasks.renderers.cloud_run.wave_sample import WaveSample
from tasks.renderers.cloud_run.wave_setting import Pace, WaveSetting
from tasks.stored.stored_results import find_stored_results
from tasks.waves.bucket_access import BucketAccess
from tests.synthetic_job import failed, make_units, rendered

JOB = "orbit-1"
FLEET = CloudRunFleet(
    "p",
    "r",
    tuple(CloudRunJob(f"render-{mib}m", 1, mib, 100, 0, 600) for mib in (512, 2048)),
)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "home")


def outcomes(storage: FolderStorage) -> Outcomes:
    return desk(storage)[0]


def following(
    storage: FolderStorage, wave: FrameWave, known: dict[str, tuple[float, int]]
) -> Outcomes:
    """What follows a running wave, where these results were there when it was chosen."""
    planner, board = WavePlanner(FLEET, Estimate()), WaveBoard()
    board.running.append(wave)
    setting = WaveSetting(storage, JOB, FLEET, JobSettings(), Pace(), logging.getLogger(), print)
    sample, access = WaveSample(planner, board, setting.pace), BucketAccess(())
    return Outcomes(setting, planner, board, sample, Gathering(Pace()), access, known)


def desk(storage: FolderStorage) -> tuple[Outcomes, Gathering, WavePlanner]:
    setting = WaveSetting(storage, JOB, FLEET, JobSettings(), Pace(), logging.getLogger(), print)
    planner, board, gathering = WavePlanner(FLEET, Estimate()), WaveBoard(), Gathering(Pace())
    sample = WaveSample(planner, board, setting.pace)
    access = BucketAccess(setting.pace.grants)
    return Outcomes(setting, planner, board, sample, gathering, access), gathering, planner


def wave_of(name: str, unit: WorkUnit, attempt: int, loop: asyncio.AbstractEventLoop) -> FrameWave:
    frame = WaitingFrame(unit, attempt, False, 0.0, 0.0, loop.create_future())
    unit_id = unit.work_unit_id
    return FrameWave(name, f"waves/{name}", [[unit_id]], 0, 1.0, 0.0, waiting={unit_id: frame})


def leave_half(storage: FolderStorage, unit: WorkUnit) -> None:
    """As a container does that is killed between its image and its result."""
    storage.write(layout.log(JOB, unit.work_unit_id), b"POV-Ray said")
    storage.write(f"{layout.output(JOB)}/{unit.image_name}", b"half")


def left(storage: FolderStorage) -> list[str]:
    return sorted(stored.key for stored in storage.list(layout.job(JOB)))


def test_the_wave_after_a_lost_container_finds_nothing_of_it(
    storage: FolderStorage, loop: asyncio.AbstractEventLoop
):
    [unit] = make_units(JOB, 1)
    first, second = wave_of("w1", unit, 1, loop), wave_of("w2", unit, 2, loop)
    known = outcomes(storage)
    loop.run_until_complete(known.note_what_is_there())
    leave_half(storage, unit)
    frame = first.waiting[unit.work_unit_id]
    loop.run_until_complete(known.lose(first, frame, None, 0, alone=True))
    assert frame.result.exception() is not None
    assert layout.result(JOB, unit.work_unit_id) in left(storage)
    loop.run_until_complete(known.clear_earlier_attempts(second))
    assert left(storage) == []


def test_what_a_container_of_an_earlier_run_left_is_cleared_too(
    storage: FolderStorage, loop: asyncio.AbstractEventLoop
):
    [unit] = make_units(JOB, 1)
    leave_half(storage, unit)
    known = outcomes(storage)
    loop.run_until_complete(known.note_what_is_there())
    loop.run_until_complete(known.clear_earlier_attempts(wave_of("w1", unit, 1, loop)))
    assert left(storage) == []


def test_frames_that_nothing_is_stored_of_cost_no_call(
    storage: FolderStorage, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
):
    [unit] = make_units(JOB, 1)
    known = outcomes(storage)
    loop.run_until_complete(known.note_what_is_there())
    monkeypatch.setattr(FolderStorage, "remove", None)
    monkeypatch.setattr(FolderStorage, "remove_unless", None)
    loop.run_until_complete(known.clear_earlier_attempts(wave_of("w1", unit, 1, loop)))


OUT_OF_MEMORY = TaskState(
    0, "failed", 0, 0, "The configured memory limit was reached.", started=1.0, completed=2.0
)


def test_no_frame_is_given_up_before_it_had_the_largest_container_for_itself(
    storage: FolderStorage, loop: asyncio.AbstractEventLoop
):
    [unit] = make_units(JOB, 1)
    known, gathering, planner = desk(storage)
    kinds = []
    for number, alone in enumerate([True, False, False, True], 1):
        [kind] = planner.by_kind([wave_of("w", unit, 3, loop).waiting[unit.work_unit_id]])
        kinds.append((kind.size, kind.isolated))
        wave = wave_of(f"w{number}", unit, 3, loop)
        wave.size = kind.size
        frame = wave.waiting[unit.work_unit_id]
        frame.final_attempt = True
        loop.run_until_complete(known.lose(wave, frame, OUT_OF_MEMORY, 0, alone=alone))
        assert frame.result.done() == (number == 4)
        assert (gathering.pending == {}) == (number == 4)
        gathering.forget(frame)

    assert kinds == [(0, False), (1, False), (1, True), (1, True)]
    assert "ran out of its 2048 MiB of memory" in str(frame.result.exception())


def test_a_frame_whose_container_was_not_let_in_waits_again_and_loses_no_attempt(
    storage: FolderStorage, loop: asyncio.AbstractEventLoop
):
    [unit] = make_units(JOB, 1)
    known, gathering, planner = desk(storage)
    refused = TaskState(0, "failed", NOT_LET_IN, 0, "", started=1.0, completed=2.0)

    for number in range(4):
        wave = wave_of(f"w{number}", unit, 4, loop)
        frame = wave.waiting[unit.work_unit_id]
        frame.final_attempt = True
        loop.run_until_complete(known.lose(wave, frame, refused, 0, alone=True))
        assert gathering.pending == {unit.work_unit_id: frame}
        assert wave.waiting == {}
        assert not frame.result.done()

    assert left(storage) == []
    assert list(planner.by_kind([frame])) == [Kind(0, False)]


def test_what_was_stored_since_the_frames_were_chosen_is_seen_at_the_first_look(
    storage: FolderStorage, loop: asyncio.AbstractEventLoop
):
    [unit] = make_units(JOB, 1)
    wave = wave_of("w1", unit, 1, loop)
    frame = wave.waiting[unit.work_unit_id]
    result = FrameResults(storage, JOB).commit(rendered(unit, started=1.0, seconds=1.0))
    known = following(storage, wave, {})

    loop.run_until_complete(known.note_what_is_there())
    loop.run_until_complete(known.collect())

    assert wave.waiting == {}
    assert frame.result.result() == result


def test_a_failure_of_before_the_frames_were_chosen_is_none_of_this_run(
    storage: FolderStorage, loop: asyncio.AbstractEventLoop
):
    [unit] = make_units(JOB, 1)
    wave = wave_of("w1", unit, 1, loop)
    FrameResults(storage, JOB).fail(failed(unit, started=1.0, error="lost", state="retrying"))
    versions = find_stored_results(storage, [unit]).others
    known = following(storage, wave, dict(versions))

    loop.run_until_complete(known.note_what_is_there())
    loop.run_until_complete(known.collect())

    assert list(wave.waiting) == list(versions) == [unit.work_unit_id]


class Unanswering(FolderStorage):
    """A folder that answers so many reads with an error; reads: how many there were."""

    errors = reads = 0

    def read(self, key: str) -> bytes:
        self.reads += 1
        if self.reads <= self.errors:
            raise StorageError("503")
        return super().read(key)


def test_a_result_that_could_not_be_read_is_read_at_the_next_look(
    tmp_path: Path, loop: asyncio.AbstractEventLoop
):
    storage = Unanswering(tmp_path)
    storage.errors = 2
    [unit] = make_units(JOB, 1)
    wave = wave_of("w1", unit, 1, loop)
    frame = wave.waiting[unit.work_unit_id]
    known = following(storage, wave, {})
    FrameResults(storage, JOB).commit(rendered(unit, started=1.0, seconds=1.0))

    for _ in range(2):
        loop.run_until_complete(known.collect())
        assert not frame.result.done()
    loop.run_until_complete(known.collect())

    assert frame.result.result().state == "rendered"


def test_what_is_no_result_is_read_once_and_what_replaces_it_is_seen(
    tmp_path: Path, loop: asyncio.AbstractEventLoop
):
    storage = Unanswering(tmp_path)
    [unit] = make_units(JOB, 1)
    wave = wave_of("w1", unit, 1, loop)
    frame = wave.waiting[unit.work_unit_id]
    known = following(storage, wave, {})
    storage.write(layout.result(JOB, unit.work_unit_id), b"{")

    for _ in range(3):
        loop.run_until_complete(known.collect())
    assert storage.reads == 1
    FrameResults(storage, JOB).commit(rendered(unit, started=1.0, seconds=1.0))
    loop.run_until_complete(known.collect())

    assert frame.result.result().state == "rendered"
