"""FileWatch: which of a scene's files were saved; draft_loop.py waits for it.

It looks at times, sizes and inodes again and again. Notices of the kernel would come some
milliseconds earlier; they do not come for network file systems, nor for what is behind a link, and
what an editor does on the way to a saved file has to be waited for all the same.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

_LOOK_SECONDS = 0.02
# Looking takes a twentieth of a core at most, whatever a scene has of files.
_LOOK_SHARE = 20
# An editor writes twice, or in pieces: what did not change for so long is a save.
_SETTLED_SECONDS = 0.03
# One that replaces a file has none for a moment.
_GONE_SECONDS = 1.0
# What else happens in the folders may be the beginning of that.
_FOLDER_SECONDS = 0.3
# Modification time in nanoseconds, size, inode; None where there is nothing.
_Stamp = tuple[int, int, int] | None


class FileWatch:
    """Follows files, and the folders that they lie in: a name that was looked for may appear."""

    def __init__(self) -> None:
        self._files: dict[Path, _Stamp] = {}
        self._folders: dict[Path, _Stamp] = {}

    def follow(self, files: Iterable[Path]) -> bool:
        """Follow these from now on, and no others; whether some were not followed before.

        Of those that were, a change that wait() has not told stays one.
        """
        wanted = set(files)
        new = wanted - self._files.keys()
        self._files = _followed(self._files, wanted)
        self._folders = _followed(self._folders, {path.parent for path in wanted})
        return bool(new)

    def has_changed(self) -> bool:
        """Whether a file is other than it was when it was last followed or told."""
        return any(_stamp(path) != stamp for path, stamp in self._files.items())

    def take(self) -> None:
        """Take what has changed as told, for who looks at it all again."""
        self._files = {path: _stamp(path) for path in self._files}
        self._folders = self._look_at_folders()

    def wait(self, stop: threading.Event) -> list[Path] | None:
        """Wait until something is saved; the files that changed, none where only a folder did.

        None if stop was set.
        """
        last: tuple[dict[Path, _Stamp], dict[Path, _Stamp]] | None = None
        since = pause = 0.0
        while not stop.wait(max(_LOOK_SECONDS, pause)):
            begun = time.monotonic()
            now = ({path: _stamp(path) for path in self._files}, self._look_at_folders())
            pause = _LOOK_SHARE * (time.monotonic() - begun)
            if now == (self._files, self._folders):
                last = None
            elif now != last:
                last, since = now, begun
            elif begun - since >= self._patience(now[0]):
                changed = [path for path, stamp in now[0].items() if stamp != self._files[path]]
                self._files, self._folders = now
                return sorted(changed)
        return None

    def _look_at_folders(self) -> dict[Path, _Stamp]:
        return {path: _stamp(path) for path in self._folders}

    def _patience(self, files: dict[Path, _Stamp]) -> float:
        changed = [stamp for path, stamp in files.items() if stamp != self._files[path]]
        if not changed:
            return _FOLDER_SECONDS
        return _GONE_SECONDS if None in changed else _SETTLED_SECONDS


def _followed(known: dict[Path, _Stamp], wanted: set[Path]) -> dict[Path, _Stamp]:
    return {path: known[path] if path in known else _stamp(path) for path in wanted}


def _stamp(path: Path) -> _Stamp:
    try:
        found = os.stat(path)  # noqa: PTH116 - hundreds of files many times a second
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
