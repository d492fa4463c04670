"""DraftFolder: where drafts are, and the files that they are drawn from, while a scene is watched.

A storage of its own in a temporary folder, which goes with the command. Nothing of it is a job of
the user's storage. It is bounded: the pictures that were not wanted for longest go first.
"""

from __future__ import annotations

import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from povstorm_client.errors import InputError, StorageError
from povstorm_client.frames.developing import developed
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.jobs.shared_resources import sha256, tree_digest
from povstorm_client.jobs.stored_frames import read_image
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.watch.known_frames import SharedTree, draft_job

MOST_BYTES = 512 << 20
# What may still be read from: the present tree, and the one before.
_TREES = 2


class DraftFolder:
    """The folder. Pictures may be asked for by several threads, all else by one.

    tone: how OpenEXR and HDR drafts are shown.
    """

    def __init__(self, folder: Path, tone: ToneMapping) -> None:
        self.folder = folder
        self._tone = tone
        self.storage = FolderStorage(folder / "storage")
        self._small = folder / "small"
        self._small.mkdir()
        self._stamps: dict[Path, tuple[tuple[int, int, int], str]] = {}
        self._trees: deque[SharedTree] = deque()
        self._lock = threading.Lock()

    def lay_out(self, files: Mapping[str, Path]) -> SharedTree:
        """Copy a scene's files; path below ./shared → local file.

        What has not changed since it was copied is not read again. Raises InputError for what
        cannot be read.
        """
        digests = {path: self._copied(local) for path, local in files.items()}
        tree = SharedTree(layout.shared(tree_digest(digests)), digests)
        if any(tree.prefix == known.prefix for known in self._trees):
            return tree
        for path, digest in digests.items():
            self.storage.copy(layout.blob(digest), f"{tree.prefix}/{path}")
        self._trees.append(tree)
        while len(self._trees) > _TREES:
            self._remove(self._trees.popleft())
        return tree

    def digests(self, files: Mapping[str, Path]) -> dict[str, str]:
        """Path below ./shared → SHA-256 of what it is now; InputError for what cannot be read."""
        return {path: sha256(local) for path, local in files.items()}

    def _copied(self, local: Path) -> str:
        """The digest of a file, whose content is in the folder then."""
        try:
            found = local.stat()
        except OSError as error:
            raise InputError(f"{local} cannot be read: {error.strerror}") from error
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._stamps.get(local)
        if known is not None and known[0] == stamp and self._has(known[1]):
            return known[1]
        digest = sha256(local)
        if not self._has(digest):
            self.storage.upload(layout.blob(digest), local)
            if self.storage.sha256(layout.blob(digest)) != digest:
                self.storage.remove(layout.blob(digest))
                raise StorageError(f"{local} was written while it was read")
        self._stamps[local] = (stamp, digest)
        return digest

    def _has(self, digest: str) -> bool:
        return self.storage.stat(layout.blob(digest)) is not None

    def _remove(self, tree: SharedTree) -> None:
        self.storage.delete(tree.prefix)
        used = {digest for each in self._trees for digest in each.digests.values()}
        for digest in set(tree.digests.values()) - used:
            self.storage.remove(layout.blob(digest))

    def forget(self, versions: Sequence[str]) -> None:
        """Remove the pictures of these names."""
        for version in versions:
            self.storage.delete(layout.job(draft_job(version)))
            (self._small / f"{version}.webp").unlink(missing_ok=True)

    def image(self, result: FrameResult) -> bytes:
        """A draft as a PNG; StorageError if it is gone, or cannot be read."""
        try:
            return developed(read_image(self.storage, result), self._tone)
        except ValueError as error:
            raise StorageError(f"the draft of frame {result.frame} cannot be read") from error

    def small(self, version: str, result: FrameResult) -> bytes:
        """A WebP of it, made when it is first asked for; StorageError if it cannot be had."""
        # Not at the top: Pillow.
        from povstorm_client.jobs.thumbnails import page_picture

        file = self._small / f"{version}.webp"
        with suppress(FileNotFoundError):
            return file.read_bytes()
        with self._lock:
            data = page_picture(self.image(result), f"the draft of frame {result.frame}")
        partial = file.with_suffix(f".{threading.get_native_id()}")
        partial.write_bytes(data)
        partial.replace(file)
        return data


@contextmanager
def draft_folder(tone: ToneMapping) -> Iterator[DraftFolder]:
    """A folder for as long as the block runs; tone: as DraftFolder has it."""
    with tempfile.TemporaryDirectory(prefix="povstorm-watch-", ignore_cleanup_errors=True) as name:
        yield DraftFolder(Path(name), tone)
