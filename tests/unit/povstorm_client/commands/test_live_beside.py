"""The live page beside a job that is rendered: opened in a browser, or only told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.cluster import Cluster
from povstorm_client.commands.live import live_beside
from povstorm_client.storage.folder import FolderStorage
from tests.live_job import LiveJob


@pytest.mark.parametrize("no_open", [False, True])
def test_a_browser_is_started_unless_it_is_not_wanted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    no_open: bool,
):
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)) or True)
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path))
    job = LiveJob(FolderStorage(tmp_path), 2)
    with live_beside(Cluster.local(tmp_path), job.job_id, no_open=no_open):
        assert "povstorm: live page http://127.0.0.1:" in capsys.readouterr().err
    assert len(opened) == (0 if no_open else 1)
