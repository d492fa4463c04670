"""Where Prefect persists task results: beside what they speak of, in the job's own storage.

The render_job flow hands it to render_frame. prefect-gcp's GcsBucket makes a client and
credentials for every read and write, and asks for its bucket each time; this block keeps one.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

from prefect.filesystems import WritableFileSystem
from pydantic import Field, PrivateAttr

from povstorm_client import layout
from povstorm_client.gcp_credentials import google_credentials
from povstorm_client.open_storage import open_storage
from povstorm_client.storage import FolderStorage, Storage

ResultStorage = Path | WritableFileSystem


class BucketResults(WritableFileSystem):
    """A Prefect block: task results below ``results/`` of a bucket."""

    _block_type_name = "Povstorm results"
    _block_type_slug = "povstorm-results"
    _description = "Task results of povstorm's flows, in the bucket that they render to."

    storage_uri: str = Field(description="The bucket, as gs://BUCKET.")
    gcp_credentials: str = Field(
        default="",
        description="Name of a GcpCredentials block; empty for the application default.",
    )
    _opened: Storage | None = PrivateAttr(default=None)

    async def read_path(self, path: str) -> bytes:
        """The stored result; StorageError where there is none."""
        return await asyncio.to_thread(lambda: self._storage().read(_key(path)))

    async def write_path(self, path: str, content: bytes) -> None:
        """Store a result."""
        await asyncio.to_thread(lambda: self._storage().write(_key(path), content))

    def _storage(self) -> Storage:
        # Threads may open it twice at first; either will do.
        if self._opened is None:
            self._opened = open_storage(self.storage_uri, google_credentials(self.gcp_credentials))
        return self._opened


def _key(path: str) -> str:
    return f"{layout.RESULT_CACHE}/{path}"


async def choose_result_storage(storage: Storage, gcp_credentials: str) -> ResultStorage:
    """Prefect's result storage for jobs of this storage.

    gcp_credentials: name of a GcpCredentials block, "" for the application default.
    """
    if isinstance(storage, FolderStorage):
        return storage.path(layout.RESULT_CACHE)
    block = BucketResults(storage_uri=storage.uri, gcp_credentials=gcp_credentials)
    # Prefect takes a block as result storage only if its server knows it.
    bucket = urlsplit(storage.uri).netloc
    name = "povstorm-" + "".join(c if c.isalnum() else "-" for c in bucket)
    await block.save(name, overwrite=True)
    return block
