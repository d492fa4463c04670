"""Whoever looks at a job sees the run that was started last, not the end of the one before."""

from __future__ import annotations

import pytest

from povstorm_client import Cluster, ToolError
from povstorm_client.jobs.state import JobState, announced_run, read_state, write_state
from povstorm_client.launch.flow_process import FlowProcess
from povstorm_client.storage.folder import FolderStorage

ENDED = JobState("failed", 9, done=7, failed=2, message="2 of 9", run="first", updated=1.0)


def test_from_its_start_on_a_further_run_has_not_ended(storage: FolderStorage):
    write_state(storage, "job", ENDED)
    with announced_run(storage, "job"):
        during = read_state(storage, "job")
    assert (during.phase, during.total, during.ended) == ("submitted", 9, False)
    assert during.run != "first"
    assert read_state(storage, "job") == during


def test_a_run_that_could_not_be_started_leaves_the_last_ones_end(storage: FolderStorage):
    write_state(storage, "job", ENDED)
    with pytest.raises(ToolError), announced_run(storage, "job"):
        raise ToolError("no bubblewrap")
    assert read_state(storage, "job") == ENDED


@pytest.mark.parametrize("state", [None, JobState("rendering", 9, run="first")])
def test_a_run_is_announced_only_where_another_has_ended(
    storage: FolderStorage, state: JobState | None
):
    if state is not None:
        write_state(storage, "job", state)
    with announced_run(storage, "job"):
        assert read_state(storage, "job") == state


def test_starting_a_flow_announces_its_run(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    write_state(cluster.storage, "job", ENDED)
    seen: list[JobState | None] = []
    monkeypatch.setattr(
        FlowProcess,
        "__init__",
        lambda self, *_, **__: seen.append(read_state(cluster.storage, "job")),
    )
    cluster.start("job", sandbox="off")
    assert [state.phase for state in seen] == ["submitted"]


def test_all_of_a_state_survives_storage(storage: FolderStorage):
    state = JobState(
        "rendering",
        9,
        done=3,
        running=2,
        working=((4, 5),),
        rendered=((1, 2), (7, 7)),
        timed=3,
        frame_seconds=1.5,
        begun=(1.0, 2.5),
        queued=True,
    )
    write_state(storage, "job", state)
    assert read_state(storage, "job") == state
