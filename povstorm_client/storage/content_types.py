"""The media types of what a storage holds, as browsers know them (RFC 6838), by the names' endings.

A bucket keeps them with its objects; the live page and notebooks show videos by them.
"""

from __future__ import annotations

from pathlib import PurePosixPath

_TYPES = {
    ".json": "application/json",
    ".png": "image/png",
    ".exr": "image/x-exr",
    ".hdr": "image/vnd.radiance",
    ".txt": "text/plain; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".gif": "image/gif",
}


def content_type(key: str) -> str:
    """The type of what lies at a key, ``application/octet-stream`` for an ending not known here."""
    return _TYPES.get(PurePosixPath(key).suffix, "application/octet-stream")
