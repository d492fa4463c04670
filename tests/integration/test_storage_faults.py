"""GcsStorage when the server refuses, breaks off or is slow: nothing is lost or half-written."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage as google_storage
from google.oauth2.credentials import Credentials

from povstorm_client.errors import StorageError
from povstorm_client.storage.bucket import GcsStorage
from povstorm_client.storage.checksum import crc32c
from tests.emulators.gcs.proxy import GcsProxy, Grant


@pytest.fixture
def bucket(gcs_proxy: GcsProxy, checked_storage: GcsStorage) -> google_storage.Bucket:
    """The same bucket through Google's own client, to prove the proxy."""
    client = google_storage.Client(project="test", credentials=AnonymousCredentials())
    return client.bucket(checked_storage.uri.removeprefix("gs://"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch):
    """Repeat calls soon: the waits are the library's, and not what is tested."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    from povstorm_client.storage import bucket as gcs_storage

    quick = DEFAULT_RETRY.with_delay(initial=0.01, maximum=0.1).with_timeout(60)
    monkeypatch.setattr(gcs_storage, "_retry", lambda: quick)


def large(folder: Path) -> Path:
    path = folder / "large.bin"
    path.write_bytes(secrets.token_bytes(20 * 2**20))
    return path


@pytest.mark.parametrize("fault", ["unavailable", "too_many", "reset", "reset_after", "slow"])
def test_calls_are_repeated_until_they_succeed(
    gcs_proxy: GcsProxy, checked_storage: GcsStorage, fault: str, tmp_path: Path
):
    storage = checked_storage
    (tmp_path / "a").write_bytes(b"file")
    with gcs_proxy.injecting(**{fault: 0.4}) as injected:
        for number in range(10):
            storage.write(f"a/{number}", f"content {number}".encode())
            assert storage.read(f"a/{number}") == f"content {number}".encode()
            assert storage.create(f"d/{number}", secrets.token_bytes(8))
            assert not storage.create(f"d/{number}", b"another's")
            storage.copy(f"a/{number}", f"b/{number}")
            assert storage.upload(f"c/{number}", tmp_path / "a") == crc32c(tmp_path / "a")
            storage.download(f"c/{number}", tmp_path / "again")
            assert storage.stat(f"b/{number}").size == len(f"content {number}")
        assert len(list(storage.list("a"))) == 10
        storage.delete("a")
        assert list(storage.list("a")) == []
    assert sum(injected.values()) > 10


@pytest.mark.parametrize("fault", ["cut", "unavailable", "reset_after"])
def test_a_large_upload_survives_faults_in_its_middle(
    gcs_proxy: GcsProxy, checked_storage: GcsStorage, fault: str, tmp_path: Path
):
    source = large(tmp_path)
    with gcs_proxy.injecting(most=3, **{fault: 0.5}) as injected:
        checked_storage.upload("blobs/large", source)
    assert injected
    checked_storage.download("blobs/large", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == source.read_bytes()


def test_a_server_that_never_answers_is_an_error_that_names_the_object(
    gcs_proxy: GcsProxy, checked_storage: GcsStorage, monkeypatch: pytest.MonkeyPatch
):
    from povstorm_client.storage import bucket as gcs_storage

    retry = gcs_storage._retry().with_timeout(0.5)
    monkeypatch.setattr(gcs_storage, "_retry", lambda: retry)
    with (
        gcs_proxy.injecting(unavailable=1.0),
        pytest.raises(StorageError, match=r"jobs/a/state\.json"),
    ):
        checked_storage.write("jobs/a/state.json", b"{}")
    assert checked_storage.stat("jobs/a/state.json") is None


def test_an_object_is_created_once_even_if_the_first_answer_was_lost(
    gcs_proxy: GcsProxy, checked_storage: GcsStorage
):
    assert checked_storage.create("jobs/a/job.json", b"mine")
    with gcs_proxy.injecting(most=2, unavailable=0.9):
        assert not checked_storage.create("jobs/a/job.json", b"other")
    assert checked_storage.read("jobs/a/job.json") == b"mine"


@pytest.mark.parametrize("size", [1000, 20 * 2**20])
def test_a_wrong_checksum_is_refused_by_the_server_and_leaves_nothing(
    gcs_proxy: GcsProxy,
    checked_storage: GcsStorage,
    size: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from povstorm_client.storage import bucket as gcs_storage

    source = tmp_path / "file"
    source.write_bytes(secrets.token_bytes(size))
    other = tmp_path / "other"
    other.write_bytes(b"other")
    monkeypatch.setattr(gcs_storage, "crc32c", lambda path: crc32c(other))
    if size < 8 * 2**20:
        # Small uploads are given their checksum by the library: spoil that one.
        from google.cloud.storage._media import _helpers

        monkeypatch.setattr(
            _helpers, "prepare_checksum_digest", lambda digest: crc32c(other), raising=True
        )

    with pytest.raises(StorageError, match=r"doesn't match|checksum|CRC32C"):
        checked_storage.upload("a/file", source)
    assert checked_storage.stat("a/file") is None


def test_the_proxy_holds_to_preconditions(bucket: google_storage.Bucket, tmp_path: Path):
    blob = bucket.blob("x/y")
    blob.upload_from_string(b"one")
    generation = blob.generation

    for call in (
        lambda: bucket.blob("x/y").delete(if_generation_match=generation + 1),
        lambda: bucket.blob("x/y").download_as_bytes(if_generation_match=generation + 1),
        lambda: bucket.blob("x/y").upload_from_string(b"two", if_generation_match=0),
        lambda: _resumable(bucket.blob("x/y"), tmp_path, if_generation_match=0),
    ):
        with pytest.raises(exceptions.PreconditionFailed, match="412"):
            call()
    bucket.blob("x/y").delete(if_generation_match=generation)


def _resumable(blob: google_storage.Blob, folder: Path, **conditions: int) -> None:
    blob.chunk_size = 2**20
    blob.upload_from_filename(str(large(folder)), **conditions)


@pytest.fixture
def renderer(
    gcs_proxy: GcsProxy, checked_storage: GcsStorage, monkeypatch: pytest.MonkeyPatch
) -> GcsStorage:
    """The bucket as the render container's account sees it: terraform grants it these."""
    token = secrets.token_hex(8)
    grants = [
        Grant("objects.get", "shared/"),
        Grant("objects.list", "shared/"),
        Grant("objects.get", "jobs/mine/"),
        Grant("objects.create", "jobs/mine/"),
    ]
    owner = Credentials("owner")
    everything = [
        Grant(f"objects.{verb}") for verb in ("get", "list", "create", "delete", "update")
    ]
    monkeypatch.setattr(gcs_proxy, "grants", {token: grants, owner.token: everything})
    monkeypatch.setattr(checked_storage, "_credentials", owner)
    return GcsStorage(checked_storage.uri.removeprefix("gs://"), credentials=Credentials(token))


def test_who_may_only_write_below_its_job_can_do_nothing_else(
    checked_storage: GcsStorage, renderer: GcsStorage
):
    storage = checked_storage
    storage.write("shared/tree/scene.pov", b"scene")
    storage.write("jobs/mine/waves/w1/00000.json", b"{}")
    storage.write("results/cached", b"secret")

    assert renderer.read("shared/tree/scene.pov") == b"scene"
    assert [entry.key for entry in renderer.list("shared/tree")] == ["shared/tree/scene.pov"]
    renderer.write("jobs/mine/results/frame-0001.json", b"{}")
    assert renderer.stat("jobs/mine/results/frame-0001.json") is not None
    for forbidden in (
        lambda: renderer.write("shared/tree/scene.pov", b"other"),
        lambda: renderer.write("jobs/mine/results/frame-0001.json", b"again"),
        lambda: renderer.write("jobs/other/results/frame-0001.json", b"{}"),
        lambda: renderer.create("jobs/other/results/frame-0001.json", b"{}"),
        lambda: renderer.write("blobs/sha256/x", b""),
        lambda: renderer.read("results/cached"),
        lambda: renderer.delete("jobs/mine/waves/w1/00000.json"),
        lambda: list(renderer.list("jobs")),
    ):
        with pytest.raises(StorageError, match="permission denied"):
            forbidden()


def test_half_an_upload_of_a_client_that_was_killed_makes_no_object(
    gcs_proxy: GcsProxy, checked_storage: GcsStorage
):
    address = urlsplit(gcs_proxy.url)
    bucket = checked_storage.uri.removeprefix("gs://")
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(
            f"POST /upload/storage/v1/b/{bucket}/o?uploadType=media&name=half HTTP/1.1\r\n"
            "Host: a\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf".encode()
        )
        connection.shutdown(socket.SHUT_WR)
        # Until the proxy is done with it.
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    assert checked_storage.stat("half") is None


def test_who_may_not_list_is_not_told_that_an_object_is_not_there(renderer: GcsStorage):
    for look in (renderer.stat, renderer.read, renderer.find):
        with pytest.raises(StorageError, match="permission denied"):
            look("jobs/mine/waves/w1/claims/none.json")
    assert renderer.stat("shared/none") is None


@pytest.mark.parametrize("answer", [403, 412])
def test_who_may_not_delete_finds_what_another_has_created_taken(
    gcs_proxy: GcsProxy, renderer: GcsStorage, answer: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gcs_proxy, "lost_create", itertools.repeat(answer))
    assert renderer.create("jobs/mine/claim", b"mine")
    assert not renderer.create("jobs/mine/claim", b"another's")
    assert renderer.create("jobs/mine/claim", b"mine")  # as if its answer had been lost


@pytest.mark.parametrize("answer", [403, 412])
@pytest.mark.parametrize("size", [1000, 20 * 2**20])
def test_an_upload_whose_answer_was_lost_is_not_lost_for_who_may_not_replace(
    gcs_proxy: GcsProxy,
    renderer: GcsStorage,
    answer: int,
    size: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(gcs_proxy, "lost_create", itertools.repeat(answer))
    image = tmp_path / "image.png"
    image.write_bytes(secrets.token_bytes(size))
    with gcs_proxy.injecting(most=2, reset_after=1.0) as injected:
        assert renderer.upload("jobs/mine/output/image.png", image) == crc32c(image)
    assert injected["reset after"] == 2
    with gcs_proxy.injecting(most=2, reset_after=1.0) as injected:
        renderer.write("jobs/mine/logs/unit.txt", image.read_bytes())
    assert injected["reset after"] == 2
    renderer.download("jobs/mine/output/image.png", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == image.read_bytes()
    assert renderer.read("jobs/mine/logs/unit.txt") == image.read_bytes()


@pytest.mark.parametrize("size", [1000, 20 * 2**20])
def test_another_file_is_uploaded_in_place_of_one_by_who_may_replace_it_and_by_nobody_else(
    checked_storage: GcsStorage, renderer: GcsStorage, size: int, tmp_path: Path
):
    (tmp_path / "first").write_bytes(b"first")
    (tmp_path / "second").write_bytes(secrets.token_bytes(size))
    renderer.upload("jobs/mine/output/image.png", tmp_path / "first")
    with pytest.raises(StorageError, match="permission denied"):
        renderer.upload("jobs/mine/output/image.png", tmp_path / "second")
    assert renderer.read("jobs/mine/output/image.png") == b"first"
    checked_storage.upload("jobs/mine/output/image.png", tmp_path / "second")
    checked_storage.download("jobs/mine/output/image.png", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "second").read_bytes()


def test_the_proxy_refuses_a_resumable_upload_that_could_replace(
    gcs_proxy: GcsProxy, checked_storage: GcsStorage, renderer: GcsStorage, tmp_path: Path
):
    (token,) = set(gcs_proxy.grants or ()) - {"owner"}
    client = google_storage.Client(project="test", credentials=Credentials(token))
    blob = client.bucket(checked_storage.uri.removeprefix("gs://")).blob("jobs/mine/image.png")
    with pytest.raises(exceptions.Forbidden, match=r"objects\.delete"):
        _resumable(blob, tmp_path)
    _resumable(blob, tmp_path, if_generation_match=0)
