"""Storage: where jobs, shared resources and results live, as a folder or (by uri) elsewhere.

Every room reads and writes through this protocol; only the choice in open_storage.py knows which.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from povstorm_client.errors import StorageError
from povstorm_client.storage.disk_full import disk_full_words, is_disk_full

_CHUNK_BYTES = 1 << 20
# https://cloud.google.com/storage/docs/json_api/v1/objects/list: the most that a call tells of.
PAGE_OBJECTS = 1000


@dataclass(frozen=True)
class StoredObject:
    """What a storage knows of an object: its key, size in bytes, time of change (Unix seconds).

    crc32c: as GCS writes it, "" where the storage would have to read the object for it. content:
    the object's bytes, where a listing was asked for them and knows them.
    """

    key: str
    size: int
    changed: float
    crc32c: str = ""
    content: bytes | None = None

    @property
    def version(self) -> tuple[float, int]:
        """What tells it from the object by which it may be replaced."""
        return self.changed, self.size


class Storage(Protocol):
    """Objects under ``/``-separated keys. A write is complete or absent; StorageError otherwise."""

    @property
    def uri(self) -> str:
        """The storage's own address; open_storage takes it."""

    @property
    def poll_seconds(self) -> float:
        """How often an object that changes is worth writing, or looking at."""

    def prepare(self) -> None:
        """Make the storage ready to be written to: private to its user, and rid of debris."""

    def read(self, key: str) -> bytes:
        """The object's bytes."""

    def find(self, key: str) -> bytes | None:
        """The object's bytes, None where there is none."""

    def write(self, key: str, data: bytes) -> None:
        """Create or replace an object."""

    def create(self, key: str, data: bytes) -> bool:
        """Create an object; False, and nothing is changed, if there is one already.

        One with the same data is taken for one that this call has made: its answer may have been
        lost. So data that tells who made it decides between two makers.
        """

    def create_or_read(self, key: str, data: bytes) -> bytes:
        """Create an object unless there is one already; returns what it has then, whoever made it.

        Small text goes where ``list(prefix, contents=True)`` finds it, if the storage can do that.
        """

    def upload(self, key: str, path: Path, on_progress: Callable[[int], None] | None = None) -> str:
        """Create or replace an object from a file; returns its crc32c (base64, as GCS gives it).

        on_progress is told the bytes that were taken so far, of a large file several times.
        """

    def download(self, key: str, path: Path) -> None:
        """Copy an object into a local file, which is complete or as it was.

        A file or link of that name is replaced, and what a link leads to stays as it is.
        """

    def copy(self, source: str, target: str) -> None:
        """Copy an object inside the storage."""

    def join(self, key: str, parts: Sequence[str]) -> None:
        """Create or replace an object of others, one after another; these stay.

        A bucket does it by itself: their content is neither fetched nor sent.
        """

    def renew(self, key: str) -> None:
        """Let the object's age begin anew."""

    def stat(self, key: str) -> StoredObject | None:
        """What is known of the object, None where there is none."""

    def crc32c(self, key: str) -> str:
        """The object's crc32c, as GCS writes it; a bucket tells it without being read."""

    def sha256(self, key: str) -> str | None:
        """The object's SHA-256 (hex); None where it would have to be fetched for it."""

    def list(self, prefix: str, *, contents: bool = False) -> Iterator[StoredObject]:
        """All objects whose key starts with ``prefix/``, in no particular order.

        contents: with those of small objects that were created, where that takes no further call.
        """

    def page(self, prefix: str, start: str, *, contents: bool = False) -> Sequence[StoredObject]:
        """Those of these whose keys are not before ``start``, ascending, as far as a call tells.

        PAGE_OBJECTS of a bucket's, all of a folder's. contents: as list has it.
        """

    def folders(self, prefix: str) -> Iterator[str]:
        """The names directly below ``prefix/`` that objects lie under, in no particular order.

        What is below them costs nothing.
        """

    def top(self) -> Iterator[str]:
        """The names at the root, of whatever is there."""

    def delete(self, prefix: str, which: Callable[[str], bool] | None = None) -> None:
        """Delete the object, or all objects under the prefix; nothing is an answer too.

        which: whether the object of a key is to be deleted; None for all of them.
        """

    def remove(self, key: str) -> None:
        """Delete one object, which nothing is under; nothing is an answer too."""

    def remove_unless(self, key: str, keep: Callable[[bytes], bool]) -> bytes | None:
        """Delete an object unless ``keep`` says of its data that it stays; returns what stayed.

        A bucket deletes what was looked at: an object that is replaced meanwhile is looked at
        again. In a folder the last to write may lose what it wrote in the moment between.
        """

    def mount(
        self,
        prefix: str,
        link: Path,
        *,
        keep: bool = False,
        exposed: bool = False,
        check: Callable[[Path], None] | None = None,
    ) -> None:
        """Make the objects under the prefix readable as files below ``link``.

        keep: they never change, so what was fetched once serves further mounts too. exposed:
        whoever reads them may try to write to them too, and does not reach what is stored. check:
        is called with the folder that they were fetched to, once; what it raises, this raises.
        OSError if files for it cannot be written outside of the storage.
        """


@contextmanager
def saved_whole(path: Path) -> Iterator[Path]:
    """A new file that takes the place of a user's file if the block ends well.

    A link there is replaced, and what it leads to stays as it is. Raises StorageError for what is
    no file, and where it cannot be written.
    """
    partial = path.with_name(f".povstorm-{secrets.token_hex(8)}")
    try:
        if path.exists() and not path.is_file():
            raise StorageError(f"{path} is there and no file: save to another")
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        if is_disk_full(error):
            words = disk_full_words(path.parent, "make room there, or choose another folder")
            raise StorageError(f"cannot save {path.name}: {words}") from error
        raise StorageError(f"cannot save {path}: {error.strerror or error}") from error


def make_output_folder(folder: Path) -> None:
    """Make a folder that a user's files are saved to, with the umask's rights.

    Raises StorageError if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error):
            words = disk_full_words(folder, "make room there, or choose another folder")
            raise StorageError(f"cannot save there: {words}") from error
        raise StorageError(
            f"the folder {folder} cannot be made ({error.strerror or error}): save to another"
        ) from error
