"""Where Prefect persists task results: beside what they speak of, in the job's own storage.

The render_job flow hands it to render_frame. Whatever the storage is, Prefect gets at it through
this block, which lets nothing through that could choose how it is decoded.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from urllib.parse import urlsplit

import prefect
from prefect.exceptions import MissingContextError
from prefect.filesystems import WritableFileSystem
from prefect.logging import get_logger, get_run_logger
from pydantic import Field, PrivateAttr

from povstorm_client.errors import RecordError, StorageError
from povstorm_client.frames.cached_frame import cached_frame_record, parse_cached_frame
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage import layout
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.open_storage import open_storage
from povstorm_client.storage.protocol import Storage


class FrameCache(WritableFileSystem):
    """A Prefect block: results of render_frame below ``results/`` of a folder or a bucket.

    prefect-gcp's GcsBucket makes a client and credentials for every read and write, and asks for
    its bucket each time; this block keeps one.
    """

    _block_type_name = "Povstorm results"
    _block_type_slug = "povstorm-results"
    _description = "Task results of povstorm's flows, in the storage that they render to."

    storage_uri: str = Field(description="The storage, as gs://BUCKET or file:///FOLDER.")
    gcp_credentials: str = Field(
        default="",
        description="Name of a GcpCredentials block; empty for the application default.",
    )
    _opened: Storage | None = PrivateAttr(default=None)
    _looked_at: dict[str, bytes] = PrivateAttr(default_factory=dict)
    _absent: set[str] = PrivateAttr(default_factory=set)

    def has_none_of(self, paths: Iterable[str]) -> None:
        """Say that there are no such entries, which is not looked for then."""
        self._absent.update(paths)

    async def read_path(self, path: str) -> bytes:
        """A record for Prefect, of the frame that the stored one speaks of.

        Raises StorageError where there is none; for Prefect there is none then. Of one that is not
        as povstorm's flows write them, the log says so.
        """
        # Prefect looks whether there is an entry, and then reads it: what it was told is there
        # must not be gone, or another, at the second time.
        if (content := self._looked_at.pop(path, None)) is not None:
            return content
        if path in self._absent:
            raise StorageError(f"the cache has no {path}")
        stored = await asyncio.to_thread(lambda: self._storage().read(_key(path)))
        try:
            result = parse_cached_frame(stored, path)
        except RecordError as error:
            _logger().warning("%s: the frame is rendered again", error)
            raise
        content = cached_frame_record(result, path, prefect.__version__)
        self._looked_at[path] = content
        return content

    async def write_path(self, path: str, content: bytes) -> None:
        """Store a result of render_frame, as Prefect writes it."""
        self._looked_at.pop(path, None)
        self._absent.discard(path)
        await asyncio.to_thread(lambda: self._storage().write(_key(path), content))

    def _storage(self) -> Storage:
        # Threads may open it twice at first; either will do.
        if self._opened is None:
            self._opened = open_storage(self.storage_uri, google_credentials(self.gcp_credentials))
        return self._opened


def _key(path: str) -> str:
    return layout.cached_frame(path)


def _logger() -> RunLogger:
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("povstorm")


async def choose_result_storage(storage: Storage, gcp_credentials: str) -> FrameCache:
    """Prefect's result storage for jobs of this storage.

    gcp_credentials: name of a GcpCredentials block, "" for the application default.
    """
    block = FrameCache(storage_uri=storage.uri, gcp_credentials=gcp_credentials)
    if isinstance(storage, FolderStorage):
        name = hashlib.sha256(storage.uri.encode()).hexdigest()[:16]
    else:
        name = "".join(c if c.isalnum() else "-" for c in urlsplit(storage.uri).netloc)
    # Prefect takes a block as result storage only if its server knows it.
    await block.save(f"povstorm-{name}", overwrite=True)
    return block
