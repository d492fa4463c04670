"""GcsStorage: a Google Cloud Storage bucket as the storage; open_storage makes one of ``gs://``.

google-cloud-storage is imported by the first call, so that a local run does not pay for it. Calls
that meet 408, 429, 5xx or a broken connection are repeated with backoff and jitter: every write
here is complete or absent, and repeating it gives the same object.
"""

from __future__ import annotations

import functools
import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from povstorm_client.errors import AccessError, StorageError
from povstorm_client.paths import check_workspace_path
from povstorm_client.storage.checksum import crc32c, crc32c_of
from povstorm_client.storage.content_types import content_type
from povstorm_client.storage.credentials import (
    GRANTS_SPREAD,
    container_credentials,
    may_pass,
    refused_login,
)
from povstorm_client.storage.parallel import CALLS_AT_ONCE, in_parallel
from povstorm_client.storage.private_files import make_read_only
from povstorm_client.storage.protocol import PAGE_OBJECTS, StoredObject, saved_whole
from povstorm_client.terminal import one_line

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud.storage import Blob, Bucket, Client

# Larger files are sent in parts, so that a broken connection costs a part only. GCS wants parts
# of a multiple of 256 KiB: https://cloud.google.com/storage/docs/performing-resumable-uploads.
_PART_BYTES = 8 * 2**20
# https://cloud.google.com/storage/docs/composite-objects: "from 1 to 32 source objects".
_MOST_COMPOSED = 32
# https://cloud.google.com/storage/quotas#objects: custom metadata of an object is at most 8 KiB.
_CONTENT = "povstorm-content"
_MOST_LISTED = 4096
# Until then a call is repeated.
_RETRY_SECONDS = 180.0
# With it the client asks for no credentials.
_EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST"


class GcsStorage:
    """Storage in a bucket; credentials None are the application default."""

    def __init__(self, bucket: str, *, credentials: Credentials | None = None) -> None:
        self._name = bucket
        self._credentials = credentials
        self._opening = threading.Lock()
        self._kept: dict[str, tempfile.TemporaryDirectory[str]] = {}
        self._keeping = threading.Lock()

    @property
    def uri(self) -> str:
        return f"gs://{self._name}"

    @property
    def poll_seconds(self) -> float:
        # An object can be replaced once a second: https://cloud.google.com/storage/quotas#objects.
        return 1.0

    def prepare(self) -> None:
        """Who may read a bucket is said by its policy; what broke off leaves nothing."""

    def read(self, key: str) -> bytes:
        with self._errors("read", key):
            data: bytes = self._blob(key).download_as_bytes(checksum="crc32c", retry=_retry())
            return data

    def find(self, key: str) -> bytes | None:
        from google.api_core.exceptions import NotFound

        try:
            return self.read(key)
        except StorageError as error:
            if isinstance(error.__cause__, NotFound):
                return None
            raise

    def write(self, key: str, data: bytes) -> None:
        def send(blob: Blob, **condition: int) -> None:
            # The checksum goes with the data, so it is the server that verifies it.
            blob.upload_from_string(
                data, content_type(key), checksum="crc32c", retry=_retry(), **condition
            )

        self._put(key, len(data), lambda: crc32c_of(data), send)

    def create(self, key: str, data: bytes) -> bool:
        return self.create_or_read(key, data) == data

    def create_or_read(self, key: str, data: bytes) -> bytes:
        from google.api_core.exceptions import Forbidden, PreconditionFailed

        blob = self._blob(key)
        if (text := _listable(data)) is not None:
            blob.metadata = {_CONTENT: text}
        try:
            with self._errors("write", key):
                blob.upload_from_string(
                    data,
                    content_type(key),
                    checksum="crc32c",
                    if_generation_match=0,
                    retry=_retry(),
                )
        except StorageError as error:
            if isinstance(error.__cause__, PreconditionFailed):
                return self.read(key)
            if not isinstance(error.__cause__, Forbidden):
                raise
            # Who may not delete may be told that first; or it may not create at all.
            try:
                return self.read(key)
            except StorageError:
                raise error from error.__cause__
        return data

    def upload(self, key: str, path: Path, on_progress: Callable[[int], None] | None = None) -> str:
        checksum = crc32c(path)
        with self._errors("write", key):
            size = path.stat().st_size

        def send(blob: Blob, **condition: int) -> None:
            if size > _PART_BYTES:
                # Parts carry no checksum: the server compares the whole object with this one.
                blob.crc32c = checksum
                blob.chunk_size = _PART_BYTES
            with path.open("rb") as file:
                source = _Watched(file, on_progress) if on_progress else file
                blob.upload_from_file(
                    source,
                    size=size,
                    content_type=content_type(key),
                    checksum="crc32c",
                    retry=_retry(),
                    **condition,
                )

        self._put(key, size, lambda: checksum, send)
        return checksum

    def _put(
        self, key: str, size: int, checksum: Callable[[], str], send: Callable[..., None]
    ) -> None:
        """Create or replace an object by ``send``, which is given the blob and its condition.

        An answer that was lost makes the client send the object again. To who may not delete,
        the render container, that is refused as a replacement; so what lies there is compared.
        Uploads in parts need the condition that there is no object, where replacing is not
        allowed: https://github.com/googleapis/google-cloud-node/issues/2611.
        """
        from google.api_core.exceptions import Forbidden, PreconditionFailed

        condition = {"if_generation_match": 0} if size > _PART_BYTES else {}
        try:
            with self._errors("write", key):
                send(self._blob(key), **condition)
        except StorageError as error:
            if not isinstance(error.__cause__, Forbidden | PreconditionFailed):
                raise
            stored = self._seen(key)
            if stored is not None and (stored.size, stored.crc32c) == (size, checksum()):
                return
            if isinstance(error.__cause__, Forbidden) and not (condition and stored):
                raise
            with self._errors("write", key):
                send(self._blob(key))

    def _seen(self, key: str) -> StoredObject | None:
        """An object, as far as the account may see it: who may not list is told 403, not 404."""
        from google.api_core.exceptions import Forbidden

        try:
            return self.stat(key)
        except StorageError as error:
            if isinstance(error.__cause__, Forbidden):
                return None
            raise

    def download(self, key: str, path: Path) -> None:
        with saved_whole(path) as partial, self._errors("read", key):
            self._blob(key).download_to_filename(str(partial), checksum="crc32c", retry=_retry())

    def copy(self, source: str, target: str) -> None:
        origin, blob = self._blob(source), self._blob(target)
        with self._errors("copy", source):
            token, _, _ = blob.rewrite(origin, retry=_retry())
            while token is not None:
                token, _, _ = blob.rewrite(origin, token=token, retry=_retry())

    def join(self, key: str, parts: Sequence[str]) -> None:
        joined = list(parts)
        between: list[str] = []
        try:
            while len(joined) > _MOST_COMPOSED:
                begins = range(0, len(joined), _MOST_COMPOSED)
                groups = [joined[begin : begin + _MOST_COMPOSED] for begin in begins]
                names = [f"{group[0]}-{secrets.token_hex(8)}" for group in groups]
                between += names
                pairs = zip(names, groups, strict=True)
                for _ in in_parallel(lambda pair: self._compose(*pair), pairs):
                    pass
                joined = names
            self._compose(key, joined)
        finally:
            for _ in in_parallel(self.remove, between):
                pass

    def _compose(self, key: str, parts: Sequence[str]) -> None:
        with self._errors("write", key):
            blob = self._blob(key)
            blob.content_type = content_type(key)
            blob.compose([self._blob(part) for part in parts], retry=_retry())

    def renew(self, key: str) -> None:
        # A lifecycle rule's age is that of the object's generation.
        self.copy(key, key)

    def stat(self, key: str) -> StoredObject | None:
        blob = self._blob(key)
        with self._errors("look at", key):
            found = self._bucket.get_blob(blob.name, retry=_retry())
        return None if found is None else _stored_object(found)

    def crc32c(self, key: str) -> str:
        stored = self.stat(key)
        if stored is None:
            raise StorageError(f"cannot read {self.uri}/{key}: there is no such object")
        return stored.crc32c

    def sha256(self, key: str) -> str | None:
        return None

    def list(self, prefix: str, *, contents: bool = False) -> Iterator[StoredObject]:
        return self._told(prefix, contents=contents)

    def page(self, prefix: str, start: str, *, contents: bool = False) -> Sequence[StoredObject]:
        return list(self._told(prefix, contents=contents, start=start, most=PAGE_OBJECTS))

    def _told(
        self, prefix: str, *, contents: bool, start: str | None = None, most: int | None = None
    ) -> Iterator[StoredObject]:
        check_workspace_path(prefix, "storage prefix")
        told = ",metadata" if contents else ""
        with self._errors("list", prefix):
            for blob in self._client.list_blobs(
                self._name,
                prefix=f"{prefix}/",
                fields=f"items(name,size,updated,crc32c{told}),nextPageToken",
                start_offset=start,
                max_results=most,
                retry=_retry(),
            ):
                yield _stored_object(blob, contents=contents)

    def folders(self, prefix: str) -> Iterator[str]:
        check_workspace_path(prefix, "storage prefix")
        start = f"{prefix}/"
        with self._errors("list", prefix):
            listing = self._client.list_blobs(
                self._name,
                prefix=start,
                delimiter="/",
                fields="prefixes,nextPageToken",
                retry=_retry(),
            )
            for page in listing.pages:
                for found in page.prefixes:
                    yield found.removeprefix(start).removesuffix("/")

    def top(self) -> Iterator[str]:
        with self._errors("list", ""):
            listing = self._client.list_blobs(
                self._name,
                delimiter="/",
                fields="items(name),prefixes,nextPageToken",
                retry=_retry(),
            )
            for page in listing.pages:
                yield from (blob.name for blob in page)
                yield from (found.removesuffix("/") for found in page.prefixes)

    def delete(self, prefix: str, which: Callable[[str], bool] | None = None) -> None:
        if which is None or which(prefix):
            self.remove(prefix)
        keys = (stored.key for stored in self.list(prefix))
        for _ in in_parallel(self.remove, filter(which, keys) if which else keys):
            pass

    def remove(self, key: str) -> None:
        from google.api_core.exceptions import NotFound

        try:
            with self._errors("delete", key):
                self._blob(key).delete(retry=_retry())
        except StorageError as error:
            if not isinstance(error.__cause__, NotFound):
                raise

    def remove_unless(self, key: str, keep: Callable[[bytes], bool]) -> bytes | None:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        name = self._blob(key).name
        while True:
            with self._errors("delete", key):
                blob = self._bucket.get_blob(name, retry=_retry())
                if blob is None:
                    return None
                same = {"if_generation_match": blob.generation, "retry": _retry()}
                try:
                    data: bytes = blob.download_as_bytes(checksum="crc32c", **same)
                    if keep(data):
                        return data
                    blob.delete(**same)
                except (NotFound, PreconditionFailed):
                    continue  # another has replaced or deleted it, or this did without an answer
                return None

    def mount(
        self,
        prefix: str,
        link: Path,
        *,
        keep: bool = False,
        exposed: bool = False,
        check: Callable[[Path], None] | None = None,
    ) -> None:
        if not keep:
            self._download_tree(prefix, link)
            if check is not None:
                check(link)
            return
        with self._keeping:
            if prefix not in self._kept:
                folder = tempfile.TemporaryDirectory(prefix="povstorm-mount-")
                self._download_tree(prefix, Path(folder.name))
                if check is not None:
                    check(Path(folder.name))
                # Several readers have this one copy: memory, in a container.
                if exposed:
                    make_read_only(Path(folder.name))
                self._kept[prefix] = folder
        link.symlink_to(self._kept[prefix].name, target_is_directory=True)

    def _download_tree(self, prefix: str, folder: Path) -> None:
        keys = [stored.key for stored in self.list(prefix)]
        targets = [folder / key.removeprefix(f"{prefix}/") for key in keys]
        for parent in {folder, *(target.parent for target in targets)}:
            parent.mkdir(parents=True, exist_ok=True)
        pairs = zip(keys, targets, strict=True)
        for _ in in_parallel(lambda pair: self.download(*pair), pairs):
            pass

    def _blob(self, key: str) -> Blob:
        check_workspace_path(key, "storage key")
        return self._bucket.blob(key)

    @functools.cached_property
    def _bucket(self) -> Bucket:
        return self._client.bucket(self._name)

    @property
    def _client(self) -> Client:
        with self._opening:
            return self._open_client

    @functools.cached_property
    def _open_client(self) -> Client:
        import requests.adapters
        from google.cloud.storage import Client

        with self._errors("open", ""):
            credentials = self._credentials
            if credentials is None and _EMULATOR_VARIABLE not in os.environ:
                credentials = container_credentials()
            # No project: objects are named by their bucket alone.
            client = Client(project=None, credentials=credentials)
        # One connection for each call at once, instead of requests' ten.
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=2 * CALLS_AT_ONCE)
        client._http.mount("https://", adapter)
        client._http.mount("http://", adapter)
        return client

    @contextmanager
    def _errors(self, verb: str, key: str) -> Iterator[None]:
        """Turn what the google client raises into StorageError, with the remedy."""
        import requests
        from google.api_core import exceptions
        from google.auth import exceptions as auth
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

        place = f"{self.uri}/{key}" if key else self.uri
        try:
            yield
        except exceptions.NotFound as error:
            raise StorageError(
                f"cannot {verb} {place}: there is no such object, or no such bucket"
            ) from error
        except (exceptions.Forbidden, exceptions.Unauthorized) as error:
            raise AccessError(
                f"cannot {verb} {place}: permission denied: have your account granted "
                "roles/storage.objectUser on the bucket (terraform grants what the flow and the "
                f"render container need; {GRANTS_SPREAD}): {error.message}"
            ) from error
        except auth.DefaultCredentialsError as error:
            raise StorageError(
                f"cannot {verb} {place}: there are no Google credentials here: run `gcloud auth "
                "application-default login`"
            ) from error
        except auth.GoogleAuthError as error:
            words = f"{one_line(error)}{refused_login(error)}"
            raise StorageError(f"cannot {verb} {place}: {words}") from error
        except (
            exceptions.GoogleAPIError,
            requests.RequestException,
            DataCorruption,
            InvalidResponse,
            OSError,
        ) as error:
            raise StorageError(f"cannot {verb} {place}: {error}") from error


class _Watched:
    """A file that tells how far it was read; to repeat a part, an upload seeks back in it."""

    def __init__(self, file: Any, on_progress: Callable[[int], None]) -> None:  # noqa: ANN401
        self._file = file
        self._on_progress = on_progress

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self._on_progress(self._file.tell())
        return data

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._file, name)


@functools.cache
def _retry() -> Any:  # noqa: ANN401 - google.api_core has no types
    from google.api_core.retry import Retry
    from google.cloud.storage.retry import DEFAULT_RETRY

    def is_passing(error: Exception) -> bool:
        return DEFAULT_RETRY._predicate(error) or may_pass(error)

    return Retry(is_passing, initial=0.5, maximum=30.0, timeout=_RETRY_SECONDS)


def _stored_object(blob: Blob, *, contents: bool = False) -> StoredObject:
    updated = blob.updated
    changed = updated.timestamp() if updated else 0.0
    crc32c = blob.crc32c or ""
    content = None
    if contents and (text := (blob.metadata or {}).get(_CONTENT)) is not None:
        # Whatever wrote the object: only what has its checksum is what it holds.
        content = text.encode() if crc32c_of(text.encode()) == crc32c else None
    return StoredObject(blob.name, blob.size or 0, changed, crc32c, content)


def _listable(data: bytes) -> str | None:
    """What goes into an object's metadata besides, so that a listing tells it."""
    if len(data) > _MOST_LISTED:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
