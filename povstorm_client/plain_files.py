"""A user's files, read without waiting: a pipe, a socket or a device in a file's place is refused.

A pipe that nobody writes to never ends, nor does /dev/zero. Whoever reads a scene opens here.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader, TextIOWrapper
from pathlib import Path

from povstorm_client.errors import InputError

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_plain(path: Path) -> BufferedReader:
    """Open a file to read its bytes; raises InputError as check_plain does, and OSError."""
    # A socket cannot be opened, and to open a device can do something.
    check_plain(path)
    opened = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - has an opener
    try:
        # It may have been replaced meanwhile.
        _refuse(path, os.fstat(opened.fileno()).st_mode)
    except InputError:
        opened.close()
        raise
    return opened


def read_plain(path: Path) -> bytes:
    """A file's bytes; raises InputError as check_plain does, and OSError."""
    with open_plain(path) as file:
        return file.read()


def read_source(path: Path) -> str:
    """A scene file's text, its lines ended by a newline; raises InputError and OSError as above.

    POV-Ray reads bytes; Latin-1 keeps every one of them.
    """
    with TextIOWrapper(open_plain(path), encoding="latin-1") as file:
        return file.read()


def check_plain(path: Path) -> None:
    """Raise InputError for what is there and neither a file nor a folder, links followed."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # a null byte
        return
    _refuse(path, mode)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _refuse(path: Path, mode: int) -> None:
    for is_kind, kind in _KINDS:
        if is_kind(mode):
            raise InputError(f"{path} is {kind}, not a file: put a file in its place")
