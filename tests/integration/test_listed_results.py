"""Results in a bucket are told by a listing, not by a call for each frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest

from povstorm_client.errors import RecordError, StorageError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs import frame_results
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import bucket, layout
from povstorm_client.storage.bucket import GcsStorage
from tests.emulators.gcs.proxy import GcsProxy
from tests.synthetic_job import failed, make_units, rendered

JOB = "orbit"
FRAMES = 40
UNITS = make_units(JOB, FRAMES)
IDS = [unit.work_unit_id for unit in UNITS]


@pytest.fixture
def stored(checked_storage: GcsStorage) -> FrameResults:
    """One frame has failed, another's result was replaced, by what no listing tells."""
    results = FrameResults(checked_storage, JOB)
    for unit in UNITS[1:]:
        results.commit(rendered(unit, started=1.0, seconds=2.0))
    results.fail(failed(UNITS[0], started=1.0, error="no such include"))
    replaced = layout.result(JOB, UNITS[1].work_unit_id)
    checked_storage.write(replaced, checked_storage.read(replaced).replace(b'"host"', b' "host"'))
    return results


@pytest.fixture
def calls(gcs_proxy: GcsProxy) -> Callable[[], Counter[str]]:
    """What was asked since the last time that this was."""
    before = gcs_proxy.asked.copy()

    def asked() -> Counter[str]:
        nonlocal before
        new = gcs_proxy.asked - before
        before = gcs_proxy.asked.copy()
        return Counter({kind: count for kind, count in new.items() if "results" in kind})

    return asked


def by_frame(
    found: Iterable[tuple[WorkUnit, FrameResult | StorageError | None]],
) -> dict[int, FrameResult | StorageError | None]:
    return {unit.frame: result for unit, result in found}


def test_all_results_are_one_listing_and_what_that_does_not_tell(
    stored: FrameResults, calls: Callable[[], Counter[str]]
):
    calls()
    found = stored.of(UNITS)
    assert [result.frame for result in found.results] == [unit.frame for unit in UNITS]
    assert found.results[0].error == "no such include"
    assert not found.unreadable
    assert calls() == {"list jobs/results": 1, "read jobs/results": 1}
    assert stored.all() == found.results
    assert calls() == {"list jobs/results": 1, "read jobs/results": 1}


def test_many_new_results_are_taken_from_a_listing_and_few_are_read(
    stored: FrameResults, calls: Callable[[], Counter[str]]
):
    calls()
    many = by_frame(stored.new(UNITS[2:], IDS))
    assert calls() == {"list jobs/results": 1}
    few = by_frame(stored.new(UNITS[2:5], IDS))
    assert calls() == {"read jobs/results": 3}
    assert few == {unit.frame: many[unit.frame] for unit in UNITS[2:5]}
    assert list(many) == [unit.frame for unit in UNITS[2:]]


def test_few_of_very_many_are_read_since_a_listing_has_a_thousand_a_call(
    stored: FrameResults, calls: Callable[[], Counter[str]]
):
    calls()
    between = [f"{UNITS[2].work_unit_id}-{number}" for number in range(100_000)]
    list(stored.new(UNITS[2:], IDS + between))
    assert calls() == {"read jobs/results": FRAMES - 2}


def test_a_new_result_that_cannot_be_read_takes_no_other_frame_down(
    stored: FrameResults, checked_storage: GcsStorage
):
    checked_storage.write(layout.result(JOB, UNITS[1].work_unit_id), b"{")
    checked_storage.remove(layout.result(JOB, UNITS[2].work_unit_id))
    found = by_frame(stored.new(UNITS, IDS))
    assert len(found) == FRAMES
    assert isinstance(found.pop(UNITS[1].frame), RecordError)
    assert found.pop(UNITS[2].frame) is None, "it is gone"
    assert all(isinstance(result, FrameResult) for result in found.values())


def test_a_look_for_some_frames_skips_the_thousands_between_them(
    stored: FrameResults,
    checked_storage: GcsStorage,
    calls: Callable[[], Counter[str]],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(bucket, "PAGE_OBJECTS", 10)
    monkeypatch.setattr(frame_results, "PAGE_OBJECTS", 10)
    stored.discard_unless_rendered(IDS[0])
    checked_storage.remove(layout.result(JOB, IDS[36]))
    calls()

    found = stored.listed_of([IDS[0], IDS[3], IDS[35], IDS[36]])

    assert set(found) >= {IDS[3], IDS[35]}
    assert not {IDS[0], IDS[36]} & set(found)
    assert calls() == {"list jobs/results": 2}
    assert stored.listed_of(IDS) == stored.listed()
    calls()
    assert stored.listed_of([]) == {}
    assert calls() == {}
