"""Fixtures for tests that need a bucket; conftest files import them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
import requests

from povstorm_client.storage.bucket import GcsStorage
from tests.emulators.gcs.proxy import GcsProxy
from tests.emulators.gcs.server import GcsServer


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsServer]:
    with GcsServer() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_proxy() -> Iterator[GcsProxy]:
    """A proxy of its own before a server of its own."""
    with GcsProxy() as proxy, GcsServer(proxy):
        yield proxy


@pytest.fixture
def checked_storage(gcs_proxy: GcsProxy, monkeypatch: pytest.MonkeyPatch) -> GcsStorage:
    """An empty bucket behind the proxy."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_proxy.url)
    name = f"povstorm-{secrets.token_hex(6)}"
    answer = requests.post(
        f"{gcs_proxy.upstream}/storage/v1/b?project=test", json={"name": name}, timeout=30
    )
    answer.raise_for_status()
    return GcsStorage(name)


@pytest.fixture
def gcs_storage(gcs_server: GcsServer, monkeypatch: pytest.MonkeyPatch) -> GcsStorage:
    """An empty bucket."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.url)
    return GcsStorage(gcs_server.make_bucket())
