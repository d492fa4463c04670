"""Shared resources: the files that all frames of a job see in ``./shared``.

Job uploads them as content-addressed blobs; the flow stages them into an immutable tree.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from povstorm_client.errors import InputError, RecordError, StorageError
from povstorm_client.paths import check_workspace_path
from povstorm_client.plain_files import check_plain, open_plain
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage, StoredObject

# Buckets and `povstorm clean` delete by age, in days: what is used again must not be deleted in
# the middle of the job.
_OLD_SECONDS = 12 * 3600.0


def files_below(path: Path, target: str = "") -> dict[str, Path]:
    """What adding ``path`` means: path below ./shared → local file.

    A folder's content lands in ``target`` (the root if empty), a file lands there under its own
    name. Symlinks are followed to files inside the folder and refused when they point outside.

    Raises InputError for what is missing, unreadable, empty, or leaves its folder.
    """
    if target:
        check_workspace_path(target, "shared resource folder")
    if path.is_file():
        return {_join(target, path.name): path}
    check_plain(path)
    if not path.is_dir():
        raise InputError(f"shared resource {path} does not exist: check the path")
    root = path.resolve()
    found: dict[str, Path] = {}
    for entry in sorted(path.rglob("*")):
        if not entry.resolve().is_relative_to(root):
            raise InputError(
                f"shared resource {entry} is a link that leaves {path}: copy the file there"
            )
        if entry.is_file():
            found[_join(target, entry.relative_to(path).as_posix())] = entry
    if not found:
        raise InputError(f"shared resource {path} is a folder without files: check the path")
    return found


def _join(folder: str, name: str) -> str:
    path = f"{folder}/{name}" if folder else name
    check_workspace_path(path, "shared resource")
    return path


def sha256(path: Path) -> str:
    """The file's SHA-256 (hex); raises InputError if it cannot be read."""
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"shared resource {path} cannot be read: {error.strerror}") from error


def tree_digest(files: dict[str, str]) -> str:
    """The digest (hex) of a set of files, path → SHA-256; equal sets have equal digests."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


def upload_missing(
    storage: Storage,
    files: dict[str, Path],
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, str]:
    """Upload the contents that the storage lacks, or has otherwise; returns path → SHA-256.

    What it has starts its age anew, so that it does not expire under the job that uses it.
    on_progress is told the bytes that are uploaded so far, and those that have to be.
    """
    digests = dict(zip(files, in_parallel(sha256, files.values()), strict=True))
    contents = {digests[path]: local for path, local in files.items()}
    sizes = {digest: local.stat().st_size for digest, local in contents.items()}

    def is_whole(stored: StoredObject, digest: str) -> bool:
        found = storage.sha256(stored.key)
        if found is not None:
            return found == digest
        return stored.crc32c == crc32c(contents[digest])

    def is_missing(digest: str) -> bool:
        stored = storage.stat(layout.blob(digest))
        if stored is None or stored.size != sizes[digest] or not is_whole(stored, digest):
            return True
        if _is_old(stored):
            try:
                storage.renew(stored.key)
            except StorageError:
                return True  # deleted in this moment; if it is something else, so the upload says
        return False

    found = zip(contents, in_parallel(is_missing, contents), strict=True)
    missing = [digest for digest, lacks in found if lacks]
    total = sum(sizes[digest] for digest in missing)
    done = dict.fromkeys(missing, 0)

    def upload(digest: str) -> None:
        def tell(taken: int) -> None:
            done[digest] = max(done[digest], taken)
            if on_progress is not None:
                on_progress(sum(done.values()), total)

        storage.upload(layout.blob(digest), contents[digest], tell)

    for _ in in_parallel(upload, missing):
        pass
    return digests


def _is_old(stored: StoredObject) -> bool:
    return time.time() - stored.changed > _OLD_SECONDS


def stage(
    storage: Storage, files: dict[str, str], warn: Callable[[str], None] | None = None
) -> str:
    """Lay the blobs out as ``shared/<tree digest>/``; returns that prefix.

    Staging an existing tree again adds what is missing, lays out anew what differs, takes away
    what does not belong to it, and renews what is old, so it can be repeated. warn is told of what
    differed. Raises StorageError for a blob that is not what its name says.
    """
    prefix = layout.shared(tree_digest(files))
    present = {stored.key: stored for stored in storage.list(prefix)}

    def lay_out(path: str) -> None:
        key, blob = f"{prefix}/{path}", layout.blob(files[path])
        stored = present.get(key)
        if stored is not None and _is_copy(storage, stored, blob, files[path]):
            if _is_old(stored):
                storage.renew(key)
            return
        if storage.sha256(blob) not in (None, files[path]):
            raise StorageError(
                f"{blob} in {storage.uri}, the content of shared/{path}, is not what its name "
                "says: submit the job again, which uploads it again"
            )
        if stored is not None and warn is not None:
            warn(f"{key} was not what was submitted: it is laid out again")
        storage.copy(blob, key)

    for _ in in_parallel(lay_out, files):
        pass
    for key in sorted(present.keys() - {f"{prefix}/{path}" for path in files}):
        if warn is not None:
            warn(f"{key} does not belong to the tree: it is deleted")
        storage.remove(key)
    return prefix


def _is_copy(storage: Storage, stored: StoredObject, blob: str, digest: str) -> bool:
    """Whether a file of a tree is what it was copied from."""
    found = storage.sha256(stored.key)
    if found is not None:
        return found == digest
    original = storage.stat(blob)
    # A blob that is gone leaves nothing to compare with; who fetches the tree checks it.
    return original is None or original.crc32c == stored.crc32c


def check_tree(folder: Path, digest: str) -> None:
    """Raise RecordError unless the files below a folder are those of the tree of that digest."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    digests = in_parallel(sha256, paths)
    files = {
        path.relative_to(folder).as_posix(): found
        for path, found in zip(paths, digests, strict=True)
    }
    if tree_digest(files) != digest:
        raise RecordError(
            f"{layout.shared(digest)} holds other files than were submitted: run the job again, "
            "which lays them out again; if that does not help, submit it again"
        )
