"""A folder storage writes whole objects or none, and never leaves its folder."""

from __future__ import annotations

import base64
from pathlib import Path

import google_crc32c
import pytest

from povstorm_client import InputError, StorageError
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.open_storage import open_storage


def test_what_is_written_is_read_listed_and_deleted(storage: FolderStorage):
    storage.write("jobs/a/results/1.json", b"one")
    storage.write("jobs/a/results/2.json", b"two")
    storage.write("jobs/ab/results/3.json", b"three")
    assert storage.read("jobs/a/results/2.json") == b"two"
    assert {entry.key for entry in storage.list("jobs/a")} == {
        "jobs/a/results/1.json",
        "jobs/a/results/2.json",
    }
    storage.delete("jobs/a")
    assert list(storage.list("jobs/a")) == []
    assert storage.stat("jobs/a/results/1.json") is None
    storage.delete("jobs/a")
    assert storage.read("jobs/ab/results/3.json") == b"three"


def test_an_upload_gives_the_checksum_that_google_cloud_storage_gives(
    storage: FolderStorage, tmp_path: Path
):
    file = tmp_path / "file"
    file.write_bytes(b"content" * 100_000)
    expected = google_crc32c.Checksum(file.read_bytes()).digest()
    assert storage.upload("a/b", file) == base64.b64encode(expected).decode()


def test_an_upload_that_fails_leaves_the_old_object_and_no_debris(
    storage: FolderStorage, tmp_path: Path
):
    storage.write("a/b", b"old")
    with pytest.raises(StorageError, match="cannot write a/b"):
        storage.upload("a/b", tmp_path / "missing")
    assert storage.read("a/b") == b"old"
    assert [path.name for path in (storage.root / "a").iterdir()] == ["b"]


def test_a_copy_lives_on_when_its_source_is_deleted(storage: FolderStorage):
    storage.write("a/image", b"pixels")
    storage.copy("a/image", "b/image")
    storage.delete("a")
    assert storage.read("b/image") == b"pixels"


def test_replacing_an_object_leaves_its_copies_alone(storage: FolderStorage):
    storage.write("a/image", b"pixels")
    storage.copy("a/image", "b/image")
    storage.write("a/image", b"others")
    assert storage.read("b/image") == b"pixels"


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../../x", ""])
def test_keys_that_leave_the_folder_are_refused(storage: FolderStorage, key: str):
    with pytest.raises(InputError):
        storage.read(key)


def test_what_is_not_there_is_an_error_with_its_name(storage: FolderStorage, tmp_path: Path):
    with pytest.raises(StorageError, match="cannot read a/b"):
        storage.read("a/b")
    with pytest.raises(StorageError, match="a/b"):
        storage.download("a/b", tmp_path / "x")
    with pytest.raises(StorageError, match="c"):
        storage.copy("a/b", "c")


def test_a_uri_opens_the_same_storage(storage: FolderStorage, tmp_path: Path):
    odd = FolderStorage(tmp_path / "with space & ümlaut")
    odd.write("key", b"value")
    assert open_storage(odd.uri).read("key") == b"value"


@pytest.mark.parametrize("uri", ["s3://bucket", "file://host/folder", "folder"])
def test_an_unknown_uri_is_refused(uri: str):
    with pytest.raises(InputError, match="no storage is known"):
        open_storage(uri)


def test_a_folder_that_cannot_be_made_names_the_remedy(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="POVSTORM_HOME"):
        FolderStorage(tmp_path / "file" / "storage")
