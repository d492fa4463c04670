"""One Prefect server for the chaos runs of a test process, apart from the others' server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.prefect_server import PrefectServer


@pytest.fixture(scope="module")
def prefect(prefect_home) -> Iterator[PrefectServer]:
    with PrefectServer() as server:
        yield server


@pytest.fixture
def on_server(prefect: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the test's flows report to the server."""
    monkeypatch.setenv("PREFECT_API_URL", prefect.url)
    return prefect.url
