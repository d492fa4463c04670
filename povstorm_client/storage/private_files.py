"""Folders and files that their user alone can read, whatever the umask; storages and flow logs."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
_WRITE = 0o222
# What group and others may do.
OTHERS = 0o077


def make_private_folder(folder: Path) -> None:
    """Make a folder, and what is missing above it, private; OSError if it cannot be made.

    A folder that is there keeps its rights.
    """
    missing = []
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        try:
            each.mkdir(PRIVATE_FOLDER)
        except FileExistsError:  # another made it in this moment
            continue
        # A umask can take away rights of the owner too.
        each.chmod(PRIVATE_FOLDER)


def create_private_file(path: Path) -> None:
    """Make an empty file; OSError if there is one already, or it cannot be made."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
    finally:
        os.close(descriptor)


def make_read_only(folder: Path) -> None:
    """Take the right to write from a folder's files and folders, its own user's too."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            os.chmod(f"{path}/{name}", PRIVATE_FILE & ~_WRITE)  # noqa: PTH101 - thousands
        os.chmod(path, PRIVATE_FOLDER & ~_WRITE)  # noqa: PTH101


def append_to_private_file(path: Path) -> IO[bytes]:
    """Open a file to append to it, made or tightened to be private, with its folders.

    Raises OSError, also for a link: nothing is written through one.
    """
    make_private_folder(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    descriptor = os.open(path, flags, PRIVATE_FILE)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
        return os.fdopen(descriptor, "ab")
    except BaseException:
        os.close(descriptor)
        raise
