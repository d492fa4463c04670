"""open_storage: the one place that chooses a storage, by its uri."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from povstorm_client.errors import InputError
from povstorm_client.storage.bucket import GcsStorage
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


def open_storage(uri: str, credentials: Credentials | None = None) -> Storage:
    """The storage at a uri: ``file:///FOLDER`` or ``gs://BUCKET``; InputError for others.

    credentials: for a bucket; None for the application default.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file" and not parts.netloc:
        return FolderStorage(Path(unquote(parts.path)))
    if parts.scheme == "gs" and parts.netloc and not parts.path.strip("/"):
        return GcsStorage(parts.netloc, credentials=credentials)
    raise InputError(f"no storage is known for {uri!r}: give file:///FOLDER or gs://BUCKET")
