"""Videos as files, for tests: encoded into a storage as a job's are, and saved from there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.video.stored_segments import SegmentStore
from tasks.video import encode

# In the environment of every process that works on a video of a folder.
MARK = "POVSTORM_TEST_VIDEO"


@dataclass(frozen=True)
class VideoFile:
    path: Path
    frames: int
    width: int
    height: int
    fps: Fraction
    codec: str
    seconds: float
    bytes: int


def segment_store(folder: Path) -> SegmentStore:
    """Where the segments of videos in a folder are kept: beside it."""
    return SegmentStore(FolderStorage(folder.with_name(f"{folder.name}-stored")), "segments")


def encode_video(images: Sequence[tuple[int, Any]], target: Path, **options: Any) -> VideoFile:
    store = segment_store(target.parent)
    os.environ[MARK] = str(target.parent)
    try:
        info = encode.encode_video(images, store, target.name, **options)
    finally:
        del os.environ[MARK]
    assert kept(store) == [], "a stored video leaves no segments behind"
    store.storage.download(target.name, target)
    return VideoFile(target, **vars(info))


def kept(store: SegmentStore) -> list[str]:
    return sorted(entry.key for entry in store.storage.list(store.prefix))


def half_made(folder: Path) -> list[str]:
    """What is stored of segments that nobody can take: without a record, or not an object yet."""
    store = segment_store(folder)
    keys = kept(store)
    records = {key.removesuffix(".json") for key in keys if key.endswith(".json")}
    parts = (key for key in keys if not key.endswith(".json"))
    partials = store.storage.root / layout.PARTIALS
    return [key for key in parts if key.rpartition("-")[0] not in records] + [
        path.name for path in (partials.iterdir() if partials.is_dir() else ())
    ]


def processes_about(folder: Path) -> list[str]:
    """The running processes that work on a video of the folder."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in environment and process.name != str(os.getpid()):
            found.append(process.name)
    return found
