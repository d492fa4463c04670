"""Storage: where jobs, shared resources and results live, as a folder or (by uri) elsewhere.

Every room reads and writes through this protocol; only the choice in open_storage.py knows which.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import google_crc32c

from povstorm_client.errors import StorageError
from povstorm_client.paths import check_workspace_path

_CHUNK_BYTES = 1 << 20
# A file of this prefix is an object that is being written.
_PARTIAL = ".partial-"


@dataclass(frozen=True)
class StoredObject:
    """What a storage knows of an object: its key, size in bytes, time of change (Unix seconds).

    crc32c: as GCS writes it, "" where the storage would have to read the object for it.
    """

    key: str
    size: int
    changed: float
    crc32c: str = ""


class Storage(Protocol):
    """Objects under ``/``-separated keys. A write is complete or absent; StorageError otherwise."""

    @property
    def uri(self) -> str:
        """The storage's own address; open_storage takes it."""

    @property
    def poll_seconds(self) -> float:
        """How often an object that changes is worth writing, or looking at."""

    def read(self, key: str) -> bytes:
        """The object's bytes."""

    def write(self, key: str, data: bytes) -> None:
        """Create or replace an object."""

    def create(self, key: str, data: bytes) -> bool:
        """Create an object; False, and nothing is changed, if there is one already.

        One with the same data is taken for one that this call has made: its answer may have been
        lost. So data that tells who made it decides between two makers.
        """

    def upload(self, key: str, path: Path, on_progress: Callable[[int], None] | None = None) -> str:
        """Create or replace an object from a file; returns its crc32c (base64, as GCS gives it).

        on_progress is told the bytes that were taken so far, of a large file several times.
        """

    def download(self, key: str, path: Path) -> None:
        """Copy an object into a local file."""

    def copy(self, source: str, target: str) -> None:
        """Copy an object inside the storage."""

    def renew(self, key: str) -> None:
        """Let the object's age begin anew."""

    def stat(self, key: str) -> StoredObject | None:
        """What is known of the object, None where there is none."""

    def crc32c(self, key: str) -> str:
        """The object's crc32c, as GCS writes it; a bucket tells it without being read."""

    def sha256(self, key: str) -> str | None:
        """The object's SHA-256 (hex); None where it would have to be fetched for it."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects whose key starts with ``prefix/``, in no particular order."""

    def folders(self, prefix: str) -> Iterator[str]:
        """The names directly below ``prefix/`` that objects lie under, in no particular order.

        What is below them costs nothing.
        """

    def delete(self, prefix: str) -> None:
        """Delete the object, or all objects under the prefix; nothing is an answer too."""

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
        check: Callable[[Path], None] | None = None,
    ) -> None:
        """Make the objects under the prefix readable as files below ``link``.

        keep: they never change, so what was fetched once serves further mounts too. check: is
        called with the folder that they were fetched to, once; what it raises, this raises.
        """


class FolderStorage:
    """Storage in a folder of this machine's file system."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"the storage folder {self.root} cannot be made ({error.strerror}): "
                "choose another with POVSTORM_HOME or Cluster.local(folder)"
            ) from error
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise StorageError(
                f"the storage folder {self.root} is not writable: choose another with "
                "POVSTORM_HOME or Cluster.local(folder)"
            )

    @property
    def uri(self) -> str:
        return self.root.as_uri()

    @property
    def poll_seconds(self) -> float:
        return 0.25

    def path(self, key: str) -> Path:
        """The file that holds the object; keys that leave the folder raise InputError."""
        check_workspace_path(key, "storage key")
        return self.root / key

    def read(self, key: str) -> bytes:
        try:
            return self.path(key).read_bytes()
        except OSError as error:
            raise _storage_error("read", key, self.uri, error) from error

    def write(self, key: str, data: bytes) -> None:
        with self._complete_or_absent(key) as partial:
            partial.write_bytes(data)

    def create(self, key: str, data: bytes) -> bool:
        target = self.path(key)
        partial = target.with_name(f"{_PARTIAL}{secrets.token_hex(8)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            try:
                os.link(partial, target)
            finally:
                partial.unlink()
        except FileExistsError:
            return self.read(key) == data
        except OSError as error:
            raise _storage_error("write", key, self.uri, error) from error
        return True

    def upload(self, key: str, path: Path, on_progress: Callable[[int], None] | None = None) -> str:
        with self._complete_or_absent(key) as partial:
            shutil.copyfile(path, partial)
            if on_progress is not None:
                on_progress(partial.stat().st_size)
            return crc32c(partial)

    def download(self, key: str, path: Path) -> None:
        try:
            shutil.copyfile(self.path(key), path)
        except OSError as error:
            raise _storage_error("read", key, self.uri, error) from error

    def copy(self, source: str, target: str) -> None:
        # Objects are replaced, never changed in place, so two keys may share one inode.
        with self._complete_or_absent(target) as partial:
            try:
                os.link(self.path(source), partial)
            except FileNotFoundError as error:
                raise _storage_error("copy", source, self.uri, error) from error
            except OSError:  # another file system, or one without hard links
                shutil.copyfile(self.path(source), partial)

    def renew(self, key: str) -> None:
        try:
            os.utime(self.path(key))
        except OSError as error:
            raise _storage_error("renew", key, self.uri, error) from error

    def stat(self, key: str) -> StoredObject | None:
        try:
            status = self.path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _storage_error("look at", key, self.uri, error) from error
        return StoredObject(key, status.st_size, status.st_mtime)

    def crc32c(self, key: str) -> str:
        try:
            return crc32c(self.path(key))
        except OSError as error:
            raise _storage_error("read", key, self.uri, error) from error

    def sha256(self, key: str) -> str | None:
        try:
            with self.path(key).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _storage_error("read", key, self.uri, error) from error

    def list(self, prefix: str) -> Iterator[StoredObject]:
        folders = [self.path(prefix)]
        while folders:
            try:
                entries = os.scandir(folders.pop())
            except (FileNotFoundError, NotADirectoryError):
                continue
            with entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif not entry.name.startswith(_PARTIAL):
                        try:
                            status = entry.stat()
                        except FileNotFoundError:  # replaced or deleted since it was listed
                            continue
                        key = Path(entry.path).relative_to(self.root).as_posix()
                        yield StoredObject(key, status.st_size, status.st_mtime)

    def folders(self, prefix: str) -> Iterator[str]:
        try:
            entries = os.scandir(self.path(prefix))
        except (FileNotFoundError, NotADirectoryError):
            return
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield entry.name

    def remove(self, key: str) -> None:
        try:
            self.path(key).unlink(missing_ok=True)
        except OSError as error:
            raise _storage_error("delete", key, self.uri, error) from error

    def remove_unless(self, key: str, keep: Callable[[bytes], bool]) -> bytes | None:
        if self.stat(key) is None:
            return None
        data = self.read(key)
        if keep(data):
            return data
        self.remove(key)
        return None

    def delete(self, prefix: str) -> None:
        path = self.path(prefix)
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _storage_error("delete", prefix, self.uri, error) from error

    def mount(
        self,
        prefix: str,
        link: Path,
        *,
        keep: bool = False,
        check: Callable[[Path], None] | None = None,
    ) -> None:
        folder = self.path(prefix)
        folder.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder, target_is_directory=True)

    @contextmanager
    def _complete_or_absent(self, key: str) -> Iterator[Path]:
        """A new file that becomes the object if the block ends well, and is removed if not."""
        target = self.path(key)
        partial = target.with_name(f"{_PARTIAL}{secrets.token_hex(8)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield partial
                partial.replace(target)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise _storage_error("write", key, self.uri, error) from error


def crc32c(path: Path) -> str:
    """A file's crc32c as Google Cloud Storage writes it: base64 of the big-endian 32 bits."""
    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            checksum.update(chunk)
    return base64.b64encode(checksum.digest()).decode("ascii")


def crc32c_of(data: bytes) -> str:
    """The same of bytes."""
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode("ascii")


def _storage_error(verb: str, key: str, uri: str, error: OSError) -> StorageError:
    return StorageError(f"cannot {verb} {key} in {uri}: {error.strerror or error}")
