"""The files below a scene's folders, for names that only running the scene can tell.

search.py looks through them. Bounded: a home folder, or thousands of files, are nobody's scene.
"""

from __future__ import annotations

import os
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.frames.render_settings import IMAGE_ENDINGS
from povstorm_client.quantities import memory_size

# Together more than any scene's own folders have, and still laid out and uploaded in no time.
MOST_FILES = 2_000
MOST_BYTES = 1 << 28
_MOST_ENTRIES = 20_000


class TooMuchError(InputError):
    """A folder has too much in it, or is too near to the root, to ship all of it."""


def files_below(folder: Path, *, is_deep: bool) -> list[str]:
    """The files in a folder, is_deep: and below it; sorted, relative to it.

    Without hidden ones, and without the frames that povstorm rendered. Raises TooMuchError.
    """
    if is_deep:
        return [name for name, _ in _walk(folder)]
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file())
    except OSError:
        return []


def folders_below(folder: Path) -> list[str]:
    """The folders below a folder, as files_below has its files."""
    _walk(folder)
    return ["", *sorted(_folders(folder))]


def _walk(folder: Path) -> tuple[tuple[str, int], ...]:
    if folder in (home := Path.home(), *home.parents):
        raise TooMuchError(f"{folder} is no folder of a scene's own")
    found: list[tuple[str, int]] = []
    entries = 0
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _is_left_out(Path(root), name))
        entries += len(folders) + len(files)
        for name in sorted(files):
            path = Path(root, name)
            if not name.startswith(".") and path.is_file():
                found.append((path.relative_to(folder).as_posix(), path.stat().st_size))
        size = sum(size for _, size in found)
        if entries > _MOST_ENTRIES or len(found) > MOST_FILES or size > MOST_BYTES:
            raise TooMuchError(
                f"below {folder} are more than {MOST_FILES:,} files or {memory_size(MOST_BYTES)}"
            )
    return tuple(found)


def _folders(folder: Path) -> set[str]:
    found: set[str] = set()
    for root, folders, _ in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not _is_left_out(Path(root), name)]
        found |= {Path(root, name).relative_to(folder).as_posix() for name in folders}
    return found


def _is_left_out(parent: Path, name: str) -> bool:
    path = parent / name
    if name.startswith(".") or name == "__pycache__":
        return True
    # What `povstorm render` left, which would make each run's resources others than the last one's.
    if (path / "frames").is_dir() and any(
        file.suffix in IMAGE_ENDINGS for file in (path / "frames").glob("frame_*")
    ):
        return True
    # A link to a folder above it has no end.
    return path.is_symlink() and path.resolve() in (parent.resolve(), *parent.resolve().parents)
