"""What was changed in a storage behind povstorm's back runs nothing and is rendered again."""

from __future__ import annotations

import base64
import json
import os
import pickle
from pathlib import Path
from typing import Any

from povstorm_client import Job
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.folder import FolderStorage


class _Payload:
    def __init__(self, program: str) -> None:
        self.program = program

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.program,)


def test_a_crafted_cache_and_a_flipped_image_are_rendered_again_with_a_whole_video(
    sphere_job, tmp_path: Path
):
    first: Job = sphere_job(frames=3)
    first.run(show_progress=False)
    storage = first.cluster.storage
    assert isinstance(storage, FolderStorage)
    canary = tmp_path / "canary"
    crafted = base64.encodebytes(pickle.dumps(_Payload(f"touch {canary}"))).decode()
    entries = [stored.key for stored in storage.list(layout.RESULT_CACHE)]
    assert len(entries) == 3
    for key in entries:
        record = json.loads(storage.read(key))
        record["metadata"]["serializer"] = {"type": "pickle"}
        storage.write(key, json.dumps(record | {"result": crafted}).encode())
    image = storage.path(f"{layout.output(first.job_id)}/{first.work_units[1].image_name}")
    data = bytearray(image.read_bytes())
    data[len(data) // 2] ^= 1
    image.write_bytes(data)

    again = Job.open(first.cluster, first.job_id)
    assert list(again.damage()) == [2]
    again.run(show_progress=False)

    assert not canary.exists()
    assert again.damage() == {}
    for result in again.results():
        assert crc32c_of(again.images()[result.frame]) == result.image_crc32c
    assert again.save_video(tmp_path / "video.mp4").stat().st_size > 0
    log = storage.read(layout.flow_log(first.job_id)).decode()
    assert "frame 2 is rendered again: " in log
    assert "the cache entry " in log
