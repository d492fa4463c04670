"""A renderer that stores what a frame has, without rendering, or fails as it is told to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.protocol import Storage

IMAGE = b"an image"
FRAMES = (1, 2, 3)


class StoringRenderer:
    """Stores an image for each frame, or raises what it is told to for its attempt."""

    version = "3.7.0.test"

    def __init__(
        self,
        storage: Storage,
        error: Callable[[WorkUnit, int], Exception | None] = lambda unit, attempt: None,
    ) -> None:
        self._storage = storage
        self._error = error
        self.attempts: Counter[int] = Counter()
        self.last: set[int] = set()

    @asynccontextmanager
    async def admission(self, unit: WorkUnit) -> AsyncIterator[None]:
        yield

    async def has_parsed(self) -> None:
        pass

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        self.attempts[unit.frame] += 1
        assert self.attempts[unit.frame] == attempt
        if final_attempt:
            self.last.add(unit.frame)
        if (error := self._error(unit, attempt)) is not None:
            raise error
        self._storage.write(f"{unit.offload_gcs_prefix}/{unit.image_name}", IMAGE)
        result = FrameResult(
            unit.work_unit_id,
            unit.job_id,
            unit.frame,
            "rendered",
            attempt=attempt,
            host="",
            started=1.0,
            ended=2.0,
            image=unit.image_name,
            image_bytes=len(IMAGE),
            image_crc32c=crc32c_of(IMAGE),
            renderer_version=self.version,
        )
        FrameResults(self._storage, unit.job_id).commit(result)
        return result


def make_frames(job: str, frames: Iterable[int] = FRAMES) -> list[WorkUnit]:
    """A job's frames, each equal to those of other jobs."""
    settings = RenderSettings(scene="scene.pov", final_frame=100)
    return [
        WorkUnit(settings, frame=frame, inline_resource={"scene.pov": ""}).assigned(
            job_id=job, shared_prefix="", offload_prefix=layout.output(job)
        )
        for frame in frames
    ]


def submit(storage: Storage, units: Sequence[WorkUnit]) -> None:
    """Store of a job what a deletion reads."""
    job = units[0].job_id
    lines = "".join(json.dumps(unit.to_json()) + "\n" for unit in units)
    storage.write(layout.work_units(job), lines.encode())
    storage.write(layout.job_manifest(job), b"{}")
