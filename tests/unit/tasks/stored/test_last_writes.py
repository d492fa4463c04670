"""What a job's end stores is stored when room comes back on a full disk within seconds."""

from __future__ import annotations

import asyncio
import errno
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.logging import disable_run_logger

import tasks.artifacts.job_artifacts
import tasks.collect_statistics
import tasks.make_report
import tasks.report.build
import tasks.steps.report_step
from povstorm_client.errors import StorageError
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tasks.stored.last_writes import store_last


class FullAtFirst(FolderStorage):
    """A storage on a disk that has no room for the first writes."""

    def __init__(self, folder: Path, refused: int) -> None:
        super().__init__(folder)
        self.refused = refused

    def write(self, key: str, data: bytes) -> None:
        if self.refused:
            self.refused -= 1
            raise StorageError(f"cannot write {key}") from OSError(errno.ENOSPC, "no room")
        super().write(key, data)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def test_it_waits_longer_each_time_and_then_stores(tmp_path: Path, waits: list[float]):
    storage = FullAtFirst(tmp_path, refused=3)
    store_last(lambda: storage.write("a", b"b"))
    assert storage.read("a") == b"b"
    assert waits == [1.0, 2.0, 4.0]


def test_a_disk_that_stays_full_is_an_error_after_seconds(tmp_path: Path, waits: list[float]):
    storage = FullAtFirst(tmp_path, refused=4)
    with pytest.raises(StorageError, match="cannot write a"):
        store_last(lambda: storage.write("a", b"b"))
    assert sum(waits) == 7.0


def test_another_error_is_not_waited_out(waits: list[float]):
    def refuse() -> None:
        raise StorageError("forbidden")

    with pytest.raises(StorageError, match="forbidden"):
        store_last(refuse)
    assert waits == []


async def no_server(*_: object, **__: object) -> None:
    raise ConnectionError("no Prefect server here")


def test_the_statistics_wait_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks.artifacts.job_artifacts, "acreate_table_artifact", no_server)
    storage = FullAtFirst(tmp_path, refused=1)
    manifest = SimpleNamespace(job_id="job", name="job", frames=(), cloud_run=None, tracing=None)
    with disable_run_logger():
        asyncio.run(
            tasks.collect_statistics.collect_statistics.fn(
                storage, manifest, [], video=None, started=1.0, ended=2.0
            )
        )
    assert storage.stat(layout.statistics("job")) is not None


def test_the_report_waits_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    built = SimpleNamespace(html="<html></html>", facts=SimpleNamespace(show="show"), sheet=b"")
    monkeypatch.setattr(tasks.report.build, "build_report", lambda *_: built)
    monkeypatch.setattr(tasks.steps.report_step, "summary", lambda *_: "")
    monkeypatch.setattr(tasks.artifacts.job_artifacts, "acreate_markdown_artifact", no_server)
    storage = FullAtFirst(tmp_path, refused=1)
    run = SimpleNamespace(manifest=SimpleNamespace(job_id="job"))
    with disable_run_logger():
        asyncio.run(tasks.make_report.make_report.fn(storage, run))
    assert storage.read(layout.report("job")) == b"<html></html>"
