"""A pipe in a storage folder, where a record should be, is an error; nobody waits for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from povstorm_client.errors import StorageError
from povstorm_client.storage.folder import FolderStorage

KEY = "jobs/a/job.json"
READERS: dict[str, Callable[[FolderStorage, Path], object]] = {
    "read": lambda storage, _: storage.read(KEY),
    "find": lambda storage, _: storage.find(KEY),
    "download": lambda storage, folder: storage.download(KEY, folder / "saved"),
    "crc32c": lambda storage, _: storage.crc32c(KEY),
    "sha256": lambda storage, _: storage.sha256(KEY),
    "copy": lambda storage, _: storage.copy(KEY, "jobs/b/job.json"),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_no_object(tmp_path: Path, reader: str):
    storage = FolderStorage(tmp_path / "storage")
    storage.write(KEY, b"{}")
    (storage.root / KEY).unlink()
    os.mkfifo(storage.root / KEY)
    with pytest.raises(StorageError, match="is no file"):
        READERS[reader](storage, tmp_path)
