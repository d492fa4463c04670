"""Who has waited long for Prefect's start is told of `povstorm server`; nobody else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client import Cluster
from povstorm_client.commands import start_hint
from povstorm_client.commands.start_hint import StartWatch
from povstorm_client.jobs.state import JobState


@pytest.fixture(autouse=True)
def no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def hint_after(seconds: float, cluster: Cluster | None = None) -> str:
    clock = iter([100.0, 100.0 + seconds])
    watch = StartWatch(lambda: next(clock))
    watch.look(JobState("submitted", 3))
    watch.look(JobState("staging", 3))
    watch.look(JobState("rendering", 3))
    return watch.hint(cluster or Cluster.local())


def test_a_long_start_is_worth_a_line():
    assert hint_after(9.0) == (
        "the flow took 9.0 s to start, most of it Prefect's server: `povstorm server start` keeps "
        "one for the day"
    )


def test_a_short_start_is_not():
    assert hint_after(3.0) == ""


def test_a_start_that_never_was_is_not():
    assert StartWatch().hint(Cluster.local()) == ""


def test_where_a_server_was_chosen_or_kept_there_is_nothing_to_advise(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(start_hint, "server_for_flows", lambda home: "http://127.0.0.1:4200/api")
    assert hint_after(9.0) == ""
    monkeypatch.undo()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4300/api")
    assert hint_after(9.0) == ""
    monkeypatch.undo()
    assert hint_after(9.0, Cluster.local().with_deployment("render-job/local")) == ""


def hint_after_frames(seconds: float) -> str:
    clock = iter([100.0, 101.0, 110.0, 110.0 + seconds])
    watch = StartWatch(lambda: next(clock))
    watch.look(JobState("rendering", 3, done=1))
    watch.look(JobState("rendering", 3, done=2, failed=1))
    watch.look(JobState("staging", 3, done=2, failed=1))
    watch.look(JobState("stitching", 3, done=2, failed=1))
    watch.look(JobState("reporting", 3, done=2, failed=1))
    return watch.hint(Cluster.local())


def test_frames_that_wait_for_prefect_at_their_end_are_worth_a_line():
    assert hint_after_frames(5.0) == (
        "all frames were there 5.0 s before Prefect's server was: `povstorm server start` keeps "
        "one for the day"
    )
    assert hint_after_frames(1.0) == ""
