"""In what order a job's frames are begun."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from flows.job_steps import frames_in_turn
from povstorm_client.frames.chain_link import ChainLink
from povstorm_client.jobs.manifest import read_manifest, write_manifest
from povstorm_client.storage.folder import FolderStorage
from tests.synthetic_job import make_manifest, make_units

UNITS = make_units("orbit-1", 9)


def begun(rest: list[int]) -> list[int]:
    in_turn = frames_in_turn(make_manifest("orbit-1", 9, bisected=True), UNITS)
    assert in_turn is not None

    async def frames() -> list[int]:
        return [unit.frame async for unit in in_turn([UNITS[frame - 1] for frame in rest])]

    return asyncio.run(frames())


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (list(range(1, 10)), [1, 9, 5, 3, 7, 2, 4, 6, 8]),
        # The first frame went ahead, to see whether the scene can be parsed.
        (list(range(2, 10)), [9, 5, 3, 7, 2, 4, 6, 8]),
    ],
)
def test_a_preview_begins_with_frames_that_lie_far_apart(rest: list[int], expected: list[int]):
    assert begun(rest) == expected


def test_all_other_jobs_go_from_the_first_to_the_last():
    assert frames_in_turn(make_manifest("orbit-1", 9), UNITS) is None


def test_frames_that_go_on_from_each_other_stay_in_order():
    units = [*UNITS[:8], replace(UNITS[8], link=ChainLink("frames"))]
    assert frames_in_turn(make_manifest("orbit-1", 9, bisected=True), units) is None


def test_that_a_job_is_a_preview_is_stored_with_it(tmp_path: Path):
    storage = FolderStorage(tmp_path)
    write_manifest(storage, make_manifest("orbit-1", 9, bisected=True), UNITS)
    assert read_manifest(storage, "orbit-1").bisected
