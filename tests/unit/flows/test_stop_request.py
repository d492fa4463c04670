"""How a running flow learns that its job was cancelled; whole jobs are in tests/e2e."""

from __future__ import annotations

import asyncio
import logging
import uuid
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from flows import prefect_cancellation, stop_request
from povstorm_client.errors import StorageError
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import StoredObject

JOB = "job"
LOG = logging.getLogger(__name__)


class FailsAtFirst(FolderStorage):
    """A storage that cannot be reached when it is asked for the first time."""

    failed = False

    def stat(self, key: str) -> StoredObject | None:
        if not self.failed:
            self.failed = True
            raise StorageError("unreachable for three minutes")
        return super().stat(key)


class PrefectThatWasStopped:
    """Prefect's client while its server is started again: the first call fails."""

    calls = 0

    async def __aenter__(self) -> PrefectThatWasStopped:
        return self

    async def __aexit__(self, *exception: object) -> None:
        pass

    async def read_flow_run(self, run_id: uuid.UUID) -> SimpleNamespace:
        self.calls += 1
        if self.calls == 1:
            raise httpx.ConnectError("All connection attempts failed")
        return SimpleNamespace(state=SimpleNamespace(is_cancelling=lambda: True))


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_request, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(prefect_cancellation, "_LOOK_SECONDS", 0.01)


async def is_asked_to_stop(storage: FolderStorage) -> bool:
    async with stop_request.stop_request(storage, JOB, asyncio.Event(), LOG) as stop:
        await asyncio.wait_for(stop.wait(), 120)
        return stop.is_set()


def test_a_note_is_seen_though_the_storage_could_not_be_asked_once(tmp_path: Path):
    storage = FailsAtFirst(tmp_path)
    storage.write(layout.cancel_request(JOB), b"{}")
    assert asyncio.run(is_asked_to_stop(storage))


def test_a_run_that_is_cancelled_in_prefect_is_seen_though_its_server_was_away_once(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    server = PrefectThatWasStopped()
    monkeypatch.setattr(prefect_cancellation, "flow_run", SimpleNamespace(id=str(uuid.uuid4())))
    monkeypatch.setattr(prefect_cancellation, "get_client", lambda: server)

    async def is_asked() -> bool:
        stop = asyncio.Event()
        async with prefect_cancellation.cancelled_in_prefect(stop, LOG):
            await asyncio.wait_for(stop.wait(), 120)
            return stop.is_set()

    assert asyncio.run(is_asked())
