"""A file's checksum as Google Cloud Storage writes it; storages and render_image ask for it."""

from __future__ import annotations

import base64
from pathlib import Path

import google_crc32c

from povstorm_client.storage.protocol import _CHUNK_BYTES


def crc32c(path: Path) -> str:
    """A file's crc32c as Google Cloud Storage writes it: base64 of the big-endian 32 bits."""
    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            checksum.update(chunk)
    return base64.b64encode(checksum.digest()).decode("ascii")


def crc32c_of(data: bytes) -> str:
    """The same of bytes."""
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode("ascii")
