"""A full disk, told from other errors and put into words; storages and render_image ask here."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

# Less than this, and whatever failed to be written failed for that: a block is 4 KiB.
_NO_ROOM_BYTES = 64 << 10
# ENOSPC: no room, or no inode; EDQUOT: the user's share is used up.
_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that a disk, or the user's share of it, is full."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def disk_full_words(folder: Path | str, remedy: str) -> str:
    """The message: which folder has no room, and what to do."""
    return f"the disk is full: no room is left in {folder}: {remedy}"


def is_full(folder: Path) -> bool:
    """Whether the file system of a folder, or of what of its path exists, has no room."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    # Some file systems have no fixed number of inodes, and say 0 of 0.
    no_inode = found.f_files > 0 and found.f_favail == 0
    return found.f_bavail * found.f_frsize < _NO_ROOM_BYTES or no_inode


def full_folders(folders: Iterable[Path]) -> list[Path]:
    """Those of the folders whose file systems have no room."""
    return [folder for folder in dict.fromkeys(folders) if is_full(folder)]
