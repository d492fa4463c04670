"""Fixtures for tests that need a bucket; conftest files import them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from povstorm_client.gcs_storage import GcsStorage
from tests.emulators.gcs.server import GcsServer


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsServer]:
    with GcsServer() as server:
        yield server


@pytest.fixture
def gcs_storage(gcs_server: GcsServer, monkeypatch: pytest.MonkeyPatch) -> GcsStorage:
    """An empty bucket."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.url)
    return GcsStorage(gcs_server.make_bucket())
