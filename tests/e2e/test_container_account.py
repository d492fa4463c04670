"""A container's account is told by the metadata server, which may be slow where many begin."""

from __future__ import annotations

from pathlib import Path

import google.auth._exponential_backoff
import pytest
from google.auth.compute_engine import _metadata

from povstorm_client.storage.bucket import GcsStorage
from tests.e2e.google_cloud import RENDERER, google_cloud
from tests.emulators.gcs.server import GcsServer

# google.auth asks thrice whether there is a metadata server, and five times for each thing of it.
_UNTIL_IT_WOULD_GIVE_UP = 3 + 5 + 1


def test_a_container_goes_on_when_its_account_is_told_late(
    tmp_path: Path, gcs: GcsServer, monkeypatch: pytest.MonkeyPatch
):
    with google_cloud(tmp_path, gcs) as cloud:
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
        monkeypatch.setenv("CLOUD_RUN_JOB", "render-512m")
        metadata = cloud.granted.metadata[RENDERER]
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", metadata.host)
        monkeypatch.setattr(google.auth._exponential_backoff.time, "sleep", lambda seconds: None)
        metadata.leave_unanswered(_UNTIL_IT_WOULD_GIVE_UP)

        GcsStorage(cloud.bucket).write("jobs/some/logs/1.txt", b"rendered")

        assert cloud.storage_calls(RENDERER)["insert"] == 1
        assert gcs.read(cloud.bucket, "jobs/some/logs/1.txt") == b"rendered"
