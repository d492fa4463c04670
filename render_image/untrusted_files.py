"""Look through, take and remove what a process wrote that may be under foreign control.

render_unit and the watch use it on a frame's folders: a scene, or who has taken POV-Ray over, may
have left links, pipes, and trees deeper than a path may be long. Nothing here follows a link, opens
what is not a plain file or folder, or goes down by recursion. Names are looked up from the
descriptors of open folders, so that a folder that is replaced by a link leads nowhere.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

# Folders in folders; each level holds two descriptors while it is looked through.
MOST_LEVELS = 64
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# What an entry answers that was there a moment ago and has gone, or has become a link.
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class UntrustedFileError(Exception):
    """What a scene cannot have made, or should not have; the message says so of "it"."""


@dataclass(frozen=True)
class Entry:
    """A file, folder, link or device below a folder.

    path: from there; found: its lstat(2); parent, name: an open folder that has it, until the
    next entry is asked for, and its name in that.
    """

    path: str
    found: os.stat_result
    parent: int
    name: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder itself, and no link to one."""
        return stat.S_ISDIR(self.found.st_mode)


@contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """A descriptor of a folder: what it holds is found by it, whatever becomes of its name."""
    descriptor = os.open(path, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def walk(folder: int, *, levels: int = MOST_LEVELS) -> Generator[Entry, None, None]:
    """All entries below an open folder, in no particular order, a folder before what is in it.

    Raises UntrustedFileError for folders that cannot be looked into, or in more levels than that.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found = os.lstat(entry.name, dir_fd=folder)
            except FileNotFoundError:  # deleted since it was listed
                continue
            yield Entry(entry.name, found, folder, entry.name)
            if not stat.S_ISDIR(found.st_mode):
                continue
            if levels <= 1:
                raise UntrustedFileError(f"it nested more than {MOST_LEVELS} folders")
            try:
                inner = os.open(entry.name, _FOLDER, dir_fd=folder)
            except OSError as error:
                if error.errno in _GONE:
                    continue
                raise UntrustedFileError(
                    f"it made a folder that cannot be looked into ({error.strerror})"
                ) from error
            try:
                with closing(walk(inner, levels=levels - 1)) as below:
                    for each in below:
                        path = f"{entry.name}/{each.path}"
                        yield Entry(path, each.found, each.parent, each.name)
            finally:
                os.close(inner)


def take_files(folder: int, into: Path) -> dict[str, Path]:
    """Move all files below an open folder into another, which nobody else can reach.

    into: an empty folder on the same file system. Returns path below the first → where it is now;
    the names there are ours. Raises UntrustedFileError for what is neither file nor folder, and
    for a file that has another name still.
    """
    taken: dict[str, Path] = {}
    with open_folder(into) as target, closing(walk(folder)) as entries:
        for entry in entries:
            if entry.is_folder:
                continue
            name = str(len(taken))
            os.rename(entry.name, name, src_dir_fd=entry.parent, dst_dir_fd=target)
            # Only now: before, it could have been replaced once more.
            found = os.lstat(name, dir_fd=target)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise UntrustedFileError(f"it left {entry.path}, which is {_kind(found)}")
            taken[entry.path] = into / name
    return taken


def _kind(found: os.stat_result) -> str:
    mode = found.st_mode
    if stat.S_ISLNK(mode):
        return "a link"
    return "a file with several names" if stat.S_ISREG(mode) else "no file"


def remove_tree(root: Path) -> None:
    """Remove a folder with all that is in it, however deep.

    Folders are moved up before they are emptied, so that no path grows and no descriptors add up.
    Raises OSError for what cannot be removed.
    """
    prefix = secrets.token_hex(8)
    with open_folder(root) as top:
        waiting = deque(_empty(top, top, prefix, 0))
        count = len(waiting)
        while waiting:
            name = waiting.popleft()
            inner = os.open(name, _FOLDER, dir_fd=top)
            try:
                found = _empty(inner, top, prefix, count)
            finally:
                os.close(inner)
            waiting.extend(found)
            count += len(found)
            os.rmdir(name, dir_fd=top)
    root.rmdir()


def _empty(folder: int, top: int, prefix: str, count: int) -> list[str]:
    """Unlink the files of a folder, and move its folders to the top; returns their names there."""
    moved: list[str] = []
    for name in os.listdir(folder):
        if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
            # To move a folder, and to look into it, takes rights that it may lack.
            os.chmod(name, 0o700, dir_fd=folder)
            moved.append(f"{prefix}-{count + len(moved)}")
            os.rename(name, moved[-1], src_dir_fd=folder, dst_dir_fd=top)
        else:
            os.unlink(name, dir_fd=folder)
    return moved
