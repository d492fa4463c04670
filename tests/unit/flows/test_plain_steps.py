"""A step of a run here is in its journal, begun and ended, as Prefect would have it."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Iterator

import pytest

from flows.plain_steps import PlainSteps
from povstorm_client.errors import VideoError
from povstorm_client.storage.folder import FolderStorage
from tasks.journal.events import Event, StepBegun, StepEnded
from tasks.journal.journal import Journal
from tasks.journal.journal_reader import JournalReader
from tasks.steps.step import Step
from tests.synthetic_job import START, make_manifest, make_units, rendered

LOG = logging.getLogger("test")


class Written:
    """A journal, the steps of a run that write it, and what stands in it."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the fixture
        self.steps = PlainSteps(Journal(self.file), LOG)

    def events(self) -> list[Event]:
        return list(JournalReader(self.file.fileno()).new())


@pytest.fixture
def written() -> Iterator[Written]:
    found = Written()
    with found.file:
        yield found


def test_a_step_that_ends_well_says_what_it_did(written: Written, storage: FolderStorage):
    manifest = make_manifest("orbit-1", 2)
    results = [rendered(unit, started=START, seconds=1) for unit in make_units(manifest.job_id, 2)]

    statistics = asyncio.run(
        written.steps.statistics(
            storage, manifest, results, video=None, started=START, ended=START + 1
        )
    )

    assert statistics.frames_rendered == 2
    assert written.events() == [
        StepBegun(Step.STATISTICS),
        StepEnded(Step.STATISTICS, shown=(f"\n{statistics}",)),
    ]


def test_a_step_that_fails_says_why_and_fails(written: Written, storage: FolderStorage):
    manifest = make_manifest("orbit-1", 2)

    with pytest.raises(VideoError) as error:
        asyncio.run(written.steps.stitch(storage, manifest, [], lambda _done: None, {}))

    assert written.events() == [
        StepBegun(Step.VIDEO),
        StepEnded(Step.VIDEO, error=f"VideoError: {error.value}"),
    ]
