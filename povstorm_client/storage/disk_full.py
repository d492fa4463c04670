"""A full disk, told from other errors and put into words; storages and render_image ask here."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

# What a flow exits with that ended for want of room: its own words may have found none either.
EXIT_STATUS = os.EX_IOERR

# Less than this, and whatever failed to be written failed for that: a block is 4 KiB.
_NO_ROOM_BYTES = 64 << 10
# ENOSPC: no room, or no inode; EDQUOT: the user's share is used up.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_WORDS = "the disk is full: no room is left in"


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
    return f"{_WORDS} {folder}: {remedy}"


def is_said(message: str) -> bool:
    """Whether a message has disk_full_words, and so the remedy."""
    return _WORDS in message


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


def temporary_words(folder: Path | None = None) -> str:
    """The message where it is the folder of temporary files, or one in it, that has no room."""
    if folder is None:
        try:
            folder = Path(tempfile.gettempdir())
        except FileNotFoundError:  # Python tries all there are, and none has room for a few bytes
            folder = Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - to name it
    # Folders of our own say nothing to anybody, and are gone when the message is read.
    while folder.name.startswith("povstorm-"):
        folder = folder.parent
    return disk_full_words(folder, "make room there, or set TMPDIR to a folder with more")


def make_temporary_folder(prefix: str) -> Path:
    """A new folder for temporary files; OSError, ENOSPC where there is no room for one."""
    try:
        return Path(tempfile.mkdtemp(prefix=prefix))
    except FileNotFoundError as error:
        raise OSError(errno.ENOSPC, str(error)) from error


def folders_of_a_flow(log_folder: Path) -> list[Path]:
    """Where a flow of this machine writes: its log and storage, temporary files, Prefect's home."""
    prefect = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    return [log_folder, Path(tempfile.gettempdir()), prefect]
