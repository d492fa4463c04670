"""What every storage does, in a folder and in a bucket on a real GCS server."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest

from povstorm_client.errors import InputError, StorageError
from povstorm_client.jobs import shared_resources
from povstorm_client.storage.bucket import GcsStorage
from povstorm_client.storage.checksum import crc32c
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.open_storage import open_storage
from povstorm_client.storage.protocol import Storage


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "storage")
    return request.getfixturevalue("checked_storage")


def keys(storage: Storage, prefix: str) -> list[str]:
    return sorted(entry.key for entry in storage.list(prefix))


def test_its_uri_opens_it_again(storage: Storage):
    storage.write("a/b.txt", b"content")

    assert open_storage(storage.uri).read("a/b.txt") == b"content"


def test_what_is_written_is_read_and_replaced(storage: Storage):
    storage.write("jobs/a/state.json", b"one")
    storage.write("jobs/a/state.json", b"two")

    assert storage.read("jobs/a/state.json") == b"two"


def test_an_object_is_created_once(storage: Storage):
    assert storage.create("jobs/a/job.json", b"first")
    assert not storage.create("jobs/a/job.json", b"second")
    assert storage.create("jobs/a/job.json", b"first")  # as if its answer had been lost

    assert storage.read("jobs/a/job.json") == b"first"
    assert keys(storage, "jobs") == ["jobs/a/job.json"]


def test_who_comes_second_is_told_what_is_there(storage: Storage):
    assert storage.create_or_read("jobs/a/claim.json", b"mine") == b"mine"
    assert storage.create_or_read("jobs/a/claim.json", b"another's") == b"mine"


def test_a_listing_with_contents_tells_what_is_there_or_nothing(storage: Storage):
    created = {"a/small.json": "{ä}".encode(), "a/large.json": b"x" * 10_000, "a/bytes": b"\xff"}
    for key, data in created.items():
        assert storage.create(key, data)
    storage.create("a/replaced.json", b"first")
    storage.write("a/replaced.json", b"second")
    storage.copy("a/small.json", "a/copied.json")

    listed = {entry.key: entry.content for entry in storage.list("a", contents=True)}

    assert len(listed) == 5
    there = {key: storage.read(key) for key in listed}
    assert all(content in (None, there[key]) for key, content in listed.items())
    if storage.uri.startswith("gs://"):
        assert {key for key, content in listed.items() if content is not None} == {
            "a/small.json",
            "a/copied.json",
        }
    assert all(entry.content is None for entry in storage.list("a"))


def test_a_page_has_the_first_keys_from_one_on(storage: Storage):
    for name in ("c", "b/2", "b-1", "a", "b/1", "d"):
        storage.write(f"jobs/{name}", name.encode())
    storage.write("jobs-other/b", b"")

    def page(start: str) -> list[str]:
        return [stored.key for stored in storage.page("jobs", start)]

    assert page("jobs/b/1") == ["jobs/b/1", "jobs/b/2", "jobs/c", "jobs/d"]
    assert page("jobs/b") == ["jobs/b-1", "jobs/b/1", "jobs/b/2", "jobs/c", "jobs/d"]
    assert page("jobs/e") == []
    assert page("") == sorted(keys(storage, "jobs"))


def test_an_object_is_removed_unless_it_is_to_stay(storage: Storage):
    storage.write("a/result.json", b"failed")

    def is_rendered(data: bytes) -> bool:
        return data == b"rendered"

    assert storage.remove_unless("a/result.json", is_rendered) is None
    assert storage.stat("a/result.json") is None
    assert storage.remove_unless("a/result.json", is_rendered) is None

    storage.write("a/result.json", b"rendered")
    assert storage.remove_unless("a/result.json", is_rendered) == b"rendered"
    assert storage.read("a/result.json") == b"rendered"


def test_a_bucket_removes_nothing_that_was_replaced_since_it_was_looked_at(
    checked_storage: GcsStorage,
):
    checked_storage.write("a/result.json", b"failed")

    def look(data: bytes) -> bool:
        if data == b"failed":
            checked_storage.write("a/result.json", b"rendered")
        return data == b"rendered"

    assert checked_storage.remove_unless("a/result.json", look) == b"rendered"
    assert checked_storage.read("a/result.json") == b"rendered"


def test_what_is_missing_is_named(storage: Storage, tmp_path: Path):
    for look in (
        lambda: storage.read("a/missing.txt"),
        lambda: storage.download("a/missing.txt", tmp_path / "here"),
        lambda: storage.copy("a/missing.txt", "b"),
    ):
        with pytest.raises(StorageError, match=r"missing\.txt"):
            look()
    assert storage.stat("a/missing.txt") is None
    assert list(storage.list("a")) == []
    assert [path.name for path in tmp_path.iterdir() if path.name != "storage"] == []


def test_files_go_up_and_come_down_with_their_checksum(storage: Storage, tmp_path: Path):
    source = tmp_path / "frame.png"
    source.write_bytes(secrets.token_bytes(100_000))

    assert storage.upload("out/frame.png", source) == crc32c(source)
    storage.download("out/frame.png", tmp_path / "again.png")

    assert (tmp_path / "again.png").read_bytes() == source.read_bytes()


def test_a_large_file_tells_how_far_it_is(storage: Storage, tmp_path: Path):
    source = tmp_path / "large.bin"
    source.write_bytes(secrets.token_bytes(20 * 2**20))
    told: list[int] = []

    assert storage.upload("blobs/large", source, told.append) == crc32c(source)

    assert told[-1] == source.stat().st_size
    storage.download("blobs/large", tmp_path / "again.bin")
    assert crc32c(tmp_path / "again.bin") == crc32c(source)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_objects_are_joined_in_order_and_stay(storage: Storage, count: int):
    parts = {f"jobs/a/segments/s-{number:05d}": secrets.token_bytes(99) for number in range(count)}
    for key, data in parts.items():
        storage.write(key, data)
    storage.write("jobs/a/video.mp4", b"yesterday's")

    storage.join("jobs/a/video.mp4", [*parts, *parts])

    assert storage.read("jobs/a/video.mp4") == b"".join(parts.values()) * 2
    assert keys(storage, "jobs/a/segments") == list(parts)


def test_a_join_of_something_that_is_missing_leaves_what_was_there(storage: Storage):
    storage.write("jobs/a/video.mp4", b"yesterday's")
    storage.write("jobs/a/segments/s-00000", b"one")

    with pytest.raises(StorageError, match=r"video\.mp4"):
        storage.join("jobs/a/video.mp4", ["jobs/a/segments/s-00000", "jobs/a/segments/s-00001"])

    assert storage.read("jobs/a/video.mp4") == b"yesterday's"


def test_an_empty_object_is_an_object(storage: Storage, tmp_path: Path):
    (tmp_path / "empty").write_bytes(b"")
    storage.upload("a/empty", tmp_path / "empty")

    assert storage.read("a/empty") == b""
    assert storage.stat("a/empty").size == 0


def test_stat_and_list_agree_and_tell_a_change(storage: Storage):
    storage.write("a/x", b"12345")
    before = storage.stat("a/x")
    time.sleep(0.02)
    storage.write("a/x", b"54321")
    after = storage.stat("a/x")

    assert before.size == after.size == 5
    assert after.changed > before.changed
    assert list(storage.list("a")) == [after]


def test_a_prefix_is_a_folder_and_no_beginning_of_a_name(storage: Storage):
    for key in ("job/a", "job/b/c", "jobs/d", "job"[:2] + "e"):
        storage.write(key, b"")

    assert keys(storage, "job") == ["job/a", "job/b/c"]
    storage.delete("job")
    assert keys(storage, "job") == []
    assert keys(storage, "jobs") == ["jobs/d"]


def test_deleting_takes_an_object_a_prefix_or_nothing(storage: Storage):
    storage.write("a/one", b"")
    storage.write("a/two", b"")
    storage.delete("a/one")
    assert keys(storage, "a") == ["a/two"]

    storage.delete("a/one")
    storage.delete("nothing/here")
    assert keys(storage, "a") == ["a/two"]


def test_a_copy_is_an_object_of_its_own(storage: Storage):
    storage.write("blobs/x", b"content")
    storage.copy("blobs/x", "shared/t/scene.pov")
    storage.write("blobs/x", b"changed")

    assert storage.read("shared/t/scene.pov") == b"content"


def test_a_mounted_tree_has_its_folders(storage: Storage, tmp_path: Path):
    storage.write("shared/t/scene.pov", b"scene")
    storage.write("shared/t/maps/wood.png", b"wood")
    (tmp_path / "w1").mkdir()
    (tmp_path / "w2").mkdir()

    for keep, workspace in ((True, "w1"), (True, "w2"), (False, "out")):
        link = tmp_path / workspace if workspace == "out" else tmp_path / workspace / "shared"
        storage.mount("shared/t", link, keep=keep)
        assert (link / "scene.pov").read_bytes() == b"scene"
        assert (link / "maps" / "wood.png").read_bytes() == b"wood"


@pytest.mark.parametrize("key", ["", "/a", "a/../b", "../x", "a//b", "a/./b"])
def test_keys_that_lead_elsewhere_are_refused(storage: Storage, key: str):
    for call in (storage.read, storage.stat, lambda key: storage.write(key, b"")):
        with pytest.raises(InputError):
            call(key)


@pytest.mark.parametrize("key", ["a b/c d.png", "ä/ö.png", "a#1/50%.txt", "a?b/c&d=e", "x+y/[z]*"])
def test_names_may_have_any_characters(storage: Storage, key: str):
    storage.write(key, b"here")

    assert storage.read(key) == b"here"
    assert storage.stat(key).key == key
    assert keys(storage, key.split("/", maxsplit=1)[0]) == [key]
    storage.copy(key, "other/copy")
    assert storage.read("other/copy") == b"here"


def test_only_missing_contents_are_uploaded(storage: Storage, tmp_path: Path):
    files = {}
    for name in ("a.inc", "b.inc", "maps/c.png"):
        files[name] = tmp_path / Path(name).name
        files[name].write_bytes(secrets.token_bytes(1000))
    files["same-as-a.inc"] = files["a.inc"]
    told: list[tuple[int, int]] = []

    digests = shared_resources.upload_missing(storage, files, lambda *tell: told.append(tell))
    assert told[-1] == (3000, 3000)
    assert len(keys(storage, "blobs")) == 3

    files["b.inc"].write_bytes(b"changed")
    told.clear()
    again = shared_resources.upload_missing(storage, files, lambda *tell: told.append(tell))
    assert told == [(7, 7)]
    assert {name for name in files if again[name] != digests[name]} == {"b.inc"}

    prefix = shared_resources.stage(storage, digests)
    assert keys(storage, prefix) == [f"{prefix}/{name}" for name in sorted(files)]
    assert shared_resources.stage(storage, digests) == prefix


def test_contents_that_are_used_again_do_not_expire_under_the_job(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "a.inc"
    file.write_bytes(b"content")

    def use() -> list[float]:
        digests = shared_resources.upload_missing(storage, {"a.inc": file})
        prefix = shared_resources.stage(storage, digests)
        entries = [*storage.list("blobs"), *storage.list(prefix)]
        assert [storage.read(entry.key) for entry in entries] == [b"content"] * 2
        return [entry.changed for entry in entries]

    first = use()
    time.sleep(0.05)
    assert use() == first
    monkeypatch.setattr(shared_resources, "_OLD_SECONDS", 0.0)
    assert all(again > before for again, before in zip(use(), first, strict=True))


def test_a_bucket_lists_more_than_a_page(gcs_storage: GcsStorage):
    for _ in shared_resources.in_parallel(
        lambda number: gcs_storage.write(f"many/{number:04d}", b""), range(1100)
    ):
        pass

    assert len(keys(gcs_storage, "many")) == 1100
    gcs_storage.delete("many")
    assert keys(gcs_storage, "many") == []


def test_a_bucket_that_is_not_there_is_named(gcs_storage: GcsStorage):
    missing = GcsStorage("no-such-bucket-anywhere")

    with pytest.raises(StorageError, match="no-such-bucket-anywhere"):
        missing.write("a", b"")
    with pytest.raises(StorageError, match="no-such-bucket-anywhere"):
        list(missing.list("a"))
