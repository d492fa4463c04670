"""What a submitted job is, before any deployment has begun it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from povstorm_client import Cluster, command_line
from povstorm_client.jobs.kept_prediction import keep_prediction
from povstorm_client.jobs.manifest import JobManifest, read_manifest, read_work_units
from povstorm_client.jobs.prediction import Prediction

SAID = Prediction(10.0, 5.0, 20.0, 3)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster whose deployment takes each run, and begins none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    Path("a.pov").write_text("sphere { 0, 1 }\n", "utf-8")

    class Run:
        log = "flow run 1"

    for question in ("require_deployment", "require_prefect_server"):
        monkeypatch.setattr(Cluster, question, lambda _cluster: None)
    monkeypatch.setattr(Cluster, "submit", lambda _cluster, _job_id: Run())
    return Cluster.local()


def submitted(cluster: Cluster, capsys: pytest.CaptureFixture[str], *words: str) -> JobManifest:
    assert command_line.run(["submit", "a.pov", *words]) == 0
    found = re.search(r"^job +(\S+)$", capsys.readouterr().out, re.MULTILINE)
    assert found is not None
    return read_manifest(cluster.storage, found[1])


def test_it_is_compared_with_what_a_preview_of_the_same_frames_said(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
):
    before = submitted(cluster, capsys)
    assert before.prediction is None
    units = read_work_units(cluster.storage, before.job_id)
    keep_prediction(cluster.storage, before.name, units, SAID)

    assert submitted(cluster, capsys).prediction == SAID
    assert submitted(cluster, capsys, "--size", "64x48").prediction is None


def test_of_a_preview_frames_that_lie_far_apart_are_begun_first(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
):
    preview = submitted(cluster, capsys, "--preview", "+KFF3")
    assert (preview.bisected, preview.prediction) == (True, None)
    assert not submitted(cluster, capsys, "+KFF3").bisected
