"""FolderStorage: a storage in a folder of this machine; open_storage and Cluster make it."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from povstorm_client.errors import InputError, StorageError
from povstorm_client.paths import check_workspace_path
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c
from povstorm_client.storage.disk_full import disk_full_words, is_disk_full
from povstorm_client.storage.private_files import (
    OTHERS,
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    create_private_file,
    make_private_folder,
    make_read_only,
)
from povstorm_client.storage.protocol import _CHUNK_BYTES, StoredObject, saved_whole

_ANOTHER = "choose another with POVSTORM_HOME or Cluster.local(folder)"
# Nothing takes so long to be written: what is older was broken off.
_BROKEN_OFF_SECONDS = 24 * 3600.0
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# O_NONBLOCK: a pipe in a file's place is not waited for.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
# Of what lies in a folder: its name, and what is known of it.
_Entry = tuple[str, os.stat_result]


class FolderStorage:
    """Storage in a folder of this machine's file system, private to its user.

    The folder may be reached by a link, which is resolved once; in the folder no link is followed.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root.expanduser()))
        try:
            if not self.root.is_dir():
                self.root.parent.mkdir(parents=True, exist_ok=True)
                make_private_folder(self.root)
        except OSError as error:
            raise StorageError(
                f"the storage folder {self.root} cannot be made ({error.strerror})",
                remedy=_ANOTHER,
            ) from error
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise StorageError(f"the storage folder {self.root} is not writable", remedy=_ANOTHER)

    @property
    def uri(self) -> str:
        return self.root.as_uri()

    @property
    def poll_seconds(self) -> float:
        return 0.25

    def path(self, key: str) -> Path:
        """The file that holds the object.

        Raises InputError for a key that leaves the folder, StorageError where a link is in the way.
        """
        check_workspace_path(key, "storage key")
        parts = key.split("/")
        if parts[0].casefold() == layout.PARTIALS:
            raise InputError(
                f"storage key {key!r} lies in {layout.PARTIALS}/, where a folder keeps what is "
                "being written: choose another"
            )
        path = self.root
        for part in parts:
            path /= part
            if path.is_symlink():
                raise _is_link(path)
        return path

    def _file(self, key: str) -> Path:
        """The same, to be read; StorageError for a pipe or a device, which could be waited for."""
        path = self.path(key)
        if path.is_fifo() or path.is_socket() or path.is_char_device() or path.is_block_device():
            raise StorageError(f"{key} in {self.uri} is no file: remove it")
        return path

    def prepare(self) -> None:
        try:
            if self.root.stat().st_mode & OTHERS:
                self.root.chmod(PRIVATE_FOLDER)
        except PermissionError:
            print(
                f"povstorm: the storage folder {self.root} belongs to another user, who may read "
                "what you store in it",
                file=sys.stderr,
            )
        self._remove_broken_off()

    def read(self, key: str) -> bytes:
        try:
            return self._file(key).read_bytes()
        except OSError as error:
            raise _storage_error("read", key, self.uri, error) from error

    def find(self, key: str) -> bytes | None:
        try:
            return self._file(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _storage_error("read", key, self.uri, error) from error

    def write(self, key: str, data: bytes) -> None:
        with self._complete_or_absent(key) as partial:
            partial.write_bytes(data)

    def create(self, key: str, data: bytes) -> bool:
        return self.create_or_read(key, data) == data

    def create_or_read(self, key: str, data: bytes) -> bytes:
        target = self.path(key)
        try:
            partial = self._new_partial()
            try:
                create_private_file(partial)
                partial.write_bytes(data)
                make_private_folder(target.parent)
                os.link(partial, target)
            finally:
                partial.unlink(missing_ok=True)
        except FileExistsError:
            return self.read(key)
        except OSError as error:
            raise _storage_error("write", key, self.uri, error) from error
        return data

    def upload(self, key: str, path: Path, on_progress: Callable[[int], None] | None = None) -> str:
        with self._complete_or_absent(key) as partial:
            shutil.copyfile(path, partial)
            if on_progress is not None:
                on_progress(partial.stat().st_size)
            return crc32c(partial)

    def download(self, key: str, path: Path) -> None:
        source = self._file(key)
        try:
            file = source.open("rb")
        except OSError as error:
            raise _storage_error("read", key, self.uri, error) from error
        # Copied, not linked: the user's file is the user's to change, and has the umask's rights.
        with file, saved_whole(path) as partial, partial.open("wb") as target:
            shutil.copyfileobj(file, target, _CHUNK_BYTES)

    def copy(self, source: str, target: str) -> None:
        origin = self._file(source)
        with self._complete_or_absent(target) as partial:
            try:
                status = origin.stat()
            except FileNotFoundError as error:
                raise _storage_error("copy", source, self.uri, error) from error
            # Objects are replaced, never changed in place, so two keys may share one inode. What
            # belongs to another user cannot be made private, nor read by a sandboxed process.
            if status.st_uid == os.geteuid() and _link(origin, partial):
                if status.st_mode & OTHERS:
                    partial.chmod(PRIVATE_FILE)
            else:
                shutil.copyfile(origin, partial)

    def join(self, key: str, parts: Sequence[str]) -> None:
        with self._complete_or_absent(key) as partial, partial.open("wb") as target:
            for part in parts:
                with self._file(part).open("rb") as source:
                    shutil.copyfileobj(source, target, _CHUNK_BYTES)

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
            return crc32c(self._file(key))
        except OSError as error:
            raise _storage_error("read", key, self.uri, error) from error

    def sha256(self, key: str) -> str | None:
        try:
            with self._file(key).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _storage_error("read", key, self.uri, error) from error

    def list(self, prefix: str, *, contents: bool = False) -> Iterator[StoredObject]:
        # A folder's files are read at no price.
        self.path(prefix)
        yield from self._files(prefix)

    def _files(self, prefix: str, start: str = "") -> Iterator[StoredObject]:
        for folder, entries in self._walk(prefix, start):
            for name, status in entries:
                if stat.S_ISREG(status.st_mode):
                    yield StoredObject(f"{folder}/{name}", status.st_size, status.st_mtime)

    def page(self, prefix: str, start: str, *, contents: bool = False) -> Sequence[StoredObject]:
        self.path(prefix)
        behind = (stored for stored in self._files(prefix, start) if stored.key >= start)
        return sorted(behind, key=lambda stored: stored.key)

    def folders(self, prefix: str) -> Iterator[str]:
        self.path(prefix)
        for name, status in self._entries(prefix):
            if stat.S_ISDIR(status.st_mode):
                yield name

    def top(self) -> Iterator[str]:
        for name, _ in self._entries(""):
            yield name

    def remove(self, key: str) -> None:
        self.path(key)
        folder, _, name = key.rpartition("/")
        try:
            with self._opened(folder) as descriptor:
                if descriptor is not None:
                    os.unlink(name, dir_fd=descriptor)
        except FileNotFoundError:
            return
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

    def delete(self, prefix: str, which: Callable[[str], bool] | None = None) -> None:
        if not self.path(prefix).is_dir():
            if which is None or which(prefix):
                self.remove(prefix)
            return
        emptied = []
        try:
            for folder, entries in self._walk(prefix):
                emptied.append(folder)
                with self._opened(folder) as descriptor:
                    for name, status in entries:
                        is_folder = stat.S_ISDIR(status.st_mode)
                        if not is_folder and (which is None or which(f"{folder}/{name}")):
                            _unlink(name, descriptor)
            for folder in reversed(emptied):
                parent, _, name = folder.rpartition("/")
                with self._opened(parent) as descriptor:
                    _remove_if_empty(name, descriptor)
        except OSError as error:
            raise _storage_error("delete", prefix, self.uri, error) from error

    def mount(
        self,
        prefix: str,
        link: Path,
        *,
        keep: bool = False,
        exposed: bool = False,
        check: Callable[[Path], None] | None = None,
    ) -> None:
        if exposed:
            self._copy_tree(prefix, link)
            return
        folder = self.path(prefix)
        try:
            make_private_folder(folder)
            link.symlink_to(folder, target_is_directory=True)
        except OSError as error:
            raise _storage_error("mount", prefix, self.uri, error) from error

    def _copy_tree(self, prefix: str, target: Path) -> None:
        """A copy for one reader: who may write as root does not mind that it is read-only."""
        self.path(prefix)
        for folder, entries in self._walk(prefix):
            made = target / folder.removeprefix(prefix).lstrip("/")
            made.mkdir()
            with self._opened(folder) as descriptor:
                for name, status in entries:
                    if descriptor is None or not stat.S_ISREG(status.st_mode):
                        continue
                    try:
                        source = os.open(name, _OPEN_FILE, dir_fd=descriptor)
                    except OSError as error:
                        raise _storage_error("read", f"{folder}/{name}", self.uri, error) from error
                    with os.fdopen(source, "rb") as file, (made / name).open("xb") as copy:
                        shutil.copyfileobj(file, copy, _CHUNK_BYTES)
        make_read_only(target)

    def _walk(self, prefix: str, start: str = "") -> Iterator[tuple[str, Sequence[_Entry]]]:
        """Each folder from the prefix downwards, with its entries; no link is followed.

        Of files whose keys are before ``start`` nothing is told, or asked.
        """
        waiting = [prefix]
        while waiting:
            folder = waiting.pop()
            entries = self._entries(folder, start)
            waiting += [
                f"{folder}/{name}" for name, status in entries if stat.S_ISDIR(status.st_mode)
            ]
            yield folder, entries

    def _entries(self, folder: str, start: str = "") -> Sequence[_Entry]:
        """What lies in a folder, but for files before ``start``; nothing where there is none."""
        found = []
        try:
            with self._opened(folder) as descriptor:
                if descriptor is None:
                    return []
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        is_before = f"{folder}/{entry.name}" < start
                        if is_before and not entry.is_dir(follow_symlinks=False):
                            continue
                        try:
                            found.append((entry.name, entry.stat(follow_symlinks=False)))
                        except FileNotFoundError:  # replaced or deleted since it was listed
                            continue
        except OSError as error:
            raise _storage_error("list", folder, self.uri, error) from error
        return found

    @contextmanager
    def _opened(self, folder: str) -> Iterator[int | None]:
        """A descriptor of a folder, which no link leads to; None where there is no such folder.

        What is done by it is done there, whatever takes the folder's place meanwhile.
        """
        descriptor: int | None = os.open(self.root, _OPEN_FOLDER)
        try:
            for part in folder.split("/") if folder else ():
                above = descriptor
                if above is None:
                    break
                descriptor = None
                try:
                    descriptor = _open_below(part, above)
                finally:
                    os.close(above)
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _new_partial(self) -> Path:
        """A name for what is being written, which no object's key can be."""
        folder = self.root / layout.PARTIALS
        if folder.is_symlink():
            raise _is_link(folder)
        make_private_folder(folder)
        return folder / secrets.token_hex(16)

    def _remove_broken_off(self) -> None:
        try:
            with self._opened(layout.PARTIALS) as descriptor:
                for name, status in self._entries(layout.PARTIALS):
                    if time.time() - status.st_mtime > _BROKEN_OFF_SECONDS:
                        _unlink(name, descriptor)
        except OSError as error:
            raise _storage_error("clean", layout.PARTIALS, self.uri, error) from error

    @contextmanager
    def _complete_or_absent(self, key: str) -> Iterator[Path]:
        """A new file that becomes the object if the block ends well, and is removed if not."""
        target = self.path(key)
        try:
            partial = self._new_partial()
            try:
                create_private_file(partial)
                yield partial
                make_private_folder(target.parent)
                partial.replace(target)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise _storage_error("write", key, self.uri, error) from error


def _link(source: Path, target: Path) -> bool:
    """Whether the new file could be put in the target's place as another name of the source."""
    linked = target.with_name(f"{target.name}-link")
    try:
        os.link(source, linked, follow_symlinks=False)
    except OSError:  # another file system, or one without hard links
        return False
    linked.replace(target)
    return True


def _unlink(name: str, folder: int | None) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def _remove_if_empty(name: str, parent: int | None) -> None:
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise


def _open_below(name: str, parent: int) -> int | None:
    """A descriptor of a folder in a folder, None where there is none; StorageError for a link."""
    try:
        return os.open(name, _OPEN_FOLDER, dir_fd=parent)
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            raise _is_link(name) from error
        return None


def _is_link(path: Path | str) -> StorageError:
    return StorageError(
        f"{path} is a link, and povstorm follows none in its storage: move the whole storage "
        "folder to where there is room, and set POVSTORM_HOME to it"
    )


def _storage_error(verb: str, key: str, uri: str, error: OSError) -> StorageError:
    if is_disk_full(error):
        # How to go on then is said by whoever knows the job.
        words = disk_full_words(uri, "make room there, for example with `povstorm clean`")
        return StorageError(f"cannot {verb} {key}: {words}")
    return StorageError(f"cannot {verb} {key} in {uri}: {error.strerror or error}")
