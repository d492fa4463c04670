"""Where Prefect persists task results: beside what they speak of, in the job's own storage.

The render_job flow hands it to render_frame. Whatever the storage is, Prefect gets at it through
this block, which lets nothing through that could choose how it is decoded.
"""

from __future__ import annotations

import asyncio
import hashlib
from urllib.parse import urlsplit

import prefect
from prefect.exceptions import MissingContextError
from prefect.filesystems import WritableFileSystem
from prefect.logging import get_logger, get_run_logger
from pydantic import Field, PrivateAttr

from povstorm_client.errors import RecordError, StorageError
from povstorm_client.frames.cached_frame import cached_frame_record, parse_cached_frame
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.open_storage import open_storage
from tasks.stored.frame_cache import FrameCache


class PrefectResults(WritableFileSystem):
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
    _cache: FrameCache | None = PrivateAttr(default=None)
    _looked_at: dict[str, bytes] = PrivateAttr(default_factory=dict)

    async def read_path(self, path: str) -> bytes:
        """A record for Prefect, of the frame that the stored one speaks of.

        Raises StorageError where there is none; for Prefect there is none then. Of one that is not
        as povstorm's flows write them, the log says so.
        """
        # Prefect looks whether there is an entry, and then reads it: what it was told is there
        # must not be gone, or another, at the second time.
        if (content := self._looked_at.pop(path, None)) is not None:
            return content
        if self._cache is not None and self._cache.is_without(path):
            raise StorageError(f"the cache has no {path}")
        try:
            result = await asyncio.to_thread(lambda: self._frames().read(path))
        except RecordError as error:
            _logger().warning("%s: the frame is rendered again", error)
            raise
        if result is None:
            raise StorageError(f"the cache has no {path}")
        content = cached_frame_record(result, path, prefect.__version__)
        self._looked_at[path] = content
        return content

    async def write_path(self, path: str, content: bytes) -> None:
        """Take a result of render_frame from Prefect."""
        self._looked_at.pop(path, None)
        await self._frames().write(path, parse_cached_frame(content, path))

    def _frames(self) -> FrameCache:
        # Threads may open it twice at first; either will do.
        if self._cache is None:
            credentials = google_credentials(self.gcp_credentials)
            self._cache = FrameCache(open_storage(self.storage_uri, credentials), _logger().warning)
        return self._cache


def _logger() -> RunLogger:
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("povstorm")


async def choose_result_storage(cache: FrameCache, gcp_credentials: str) -> PrefectResults:
    """Prefect's result storage for jobs of the cache's storage.

    gcp_credentials: name of a GcpCredentials block, "" for the application default.
    """
    storage = cache.storage
    block = PrefectResults(storage_uri=storage.uri, gcp_credentials=gcp_credentials)
    if isinstance(storage, FolderStorage):
        name = hashlib.sha256(storage.uri.encode()).hexdigest()[:16]
    else:
        name = "".join(c if c.isalnum() else "-" for c in urlsplit(storage.uri).netloc)
    # Prefect takes a block as result storage only if its server knows it.
    await block.save(f"povstorm-{name}", overwrite=True)
    block._cache = cache
    return block
