"""What the Prefect UI shows of a job with one failed frame, asked of the server's own API."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from povstorm_client import JobError
from tests.recording import until_recorded


class Api:
    """The queries that the UI's pages make."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)

    def post(self, path: str, **body: Any) -> list[dict[str, Any]]:
        response = self._client.post(path, json=body)
        response.raise_for_status()
        return response.json()


@pytest.fixture
def failed_job(sphere_job, on_server: str):
    job = sphere_job("page", frames=3, scenes={2: '#include "nowhere.inc"\n'})
    with pytest.raises(JobError):
        job.run(show_progress=False)
    assert until_recorded(job).unrecorded == ""
    return job


def test_the_page_of_a_job_shows_frames_logs_failure_progress_and_table(failed_job, on_server: str):
    api = Api(on_server)
    [flow] = api.post("flows/filter", flows={"name": {"any_": ["render-job"]}})
    [flow_run] = api.post("flow_runs/filter", flow_runs={"name": {"any_": [failed_job.job_id]}})
    assert flow_run["flow_id"] == flow["id"]
    assert flow_run["state"]["type"] == "FAILED"
    assert "1 of 3 frames was not rendered: 2" in flow_run["state"]["message"]

    of_run = {"flow_run_id": {"any_": [flow_run["id"]]}}
    tasks = {run["name"]: run for run in api.post("task_runs/filter", task_runs=of_run)}
    states = {name: run["state"]["type"] for name, run in tasks.items() if name.startswith("frame")}
    assert states == {"frame-0001": "COMPLETED", "frame-0002": "FAILED", "frame-0003": "COMPLETED"}
    assert tasks["frame-0002"]["run_count"] == 1
    message = tasks["frame-0002"]["state"]["message"]
    assert "Cannot open include file nowhere.inc" in message
    assert "Render failed" in message, "the tail of POV-Ray's output belongs to the message"

    failed = {"task_run_id": {"any_": [tasks["frame-0002"]["id"]]}}
    first = api.post("logs/filter", logs=failed, sort="TIMESTAMP_ASC", limit=1)[0]["message"]
    line = "frame 2: File 'sphere.pov' line 1: Parse Error: Cannot open include file nowhere.inc."
    assert first.startswith(f"{line}\n\nPOV-Ray's output:\n"), "what is above the fold is read"
    assert line in message.splitlines()[0]

    logs = api.post(
        "logs/filter", logs={"task_run_id": {"any_": [tasks["frame-0001"]["id"]]}}, limit=200
    )
    assert any("Ray->Shape Intersection" in entry["message"] for entry in logs)

    artifacts = api.post("artifacts/filter", artifacts=of_run)
    progress = next(artifact for artifact in artifacts if artifact["type"] == "progress")
    assert progress["data"] == 100.0
    assert progress["description"] == "2 of 3 frames, 1 failed"
    table = next(artifact for artifact in artifacts if artifact["type"] == "table")
    assert table["key"] == "frames"
    assert "nowhere.inc" in str(table["data"])
