"""FrameTimes: which of an animation's frames take long, as its last run, or a preview, has shown.

The dispatcher starts those first: a long frame that begins late is waited for when all others are
done. Only how frames compare matters, so a run in another size tells as well, and one of fewer
frames tells of their neighbours.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from msgspec import Meta

from povstorm_client.errors import StorageError
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.frames.result import FrameResult
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import Seconds, decode

# Half a megabyte; of more frames an even sample tells as much.
_MOST_POINTS = 20_000

_Position = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class FrameTimes:
    """points: (position in the animation, from 0 to 1, CPU seconds), ascending by position."""

    points: tuple[tuple[_Position, Seconds], ...] = ()

    @classmethod
    def of(cls, results: Iterable[FrameResult], settings: RenderSettings) -> FrameTimes:
        """What these frames of an animation took, as far as they were rendered now."""
        points = sorted(
            (position(result.frame, settings), round(result.statistics.cpu_seconds, 3))
            for result in results
            if result.statistics is not None
            and result.state == "rendered"
            and not result.cache_hit
            and settings.initial_frame <= result.frame <= settings.final_frame
        )
        return cls(tuple(points[:: -(-len(points) // _MOST_POINTS) or 1]))

    def expected(self, frame: int, settings: RenderSettings) -> float | None:
        """CPU seconds of a frame, between those of its neighbours; None where nothing is known."""
        if not self.points:
            return None
        place = position(frame, settings)
        after = bisect_left(self.points, (place, 0.0))
        if after == 0 or after == len(self.points):
            return self.points[min(after, len(self.points) - 1)][1]
        (left, before), (right, then) = self.points[after - 1], self.points[after]
        share = (place - left) / (right - left) if right > left else 1.0
        return before + share * (then - before)


def position(frame: int, settings: RenderSettings) -> float:
    """Where a frame is in its animation, 0 for the first and 1 for the last."""
    length = settings.final_frame - settings.initial_frame
    return (frame - settings.initial_frame) / length if length else 0.0


def read_frame_times(storage: Storage, name: str, settings: RenderSettings) -> FrameTimes:
    """What is stored of the scene; nothing where there is nothing, or nothing that is readable."""
    key = layout.estimate(_digest(name, settings))
    try:
        data = storage.find(key)
        return FrameTimes() if data is None else decode(data, FrameTimes, key, storage)
    except StorageError:
        # It only says in which order frames begin.
        return FrameTimes()


def write_frame_times(
    storage: Storage, name: str, settings: RenderSettings, times: FrameTimes
) -> None:
    """Store what was learned in place of what was there."""
    text = json.dumps(asdict(times))
    storage.write(layout.estimate(_digest(name, settings)), text.encode())


def _digest(name: str, settings: RenderSettings) -> str:
    """What names a scene's frame times: the job's name and the scene, in whatever size."""
    return hashlib.sha256(json.dumps(["frame times", name, settings.scene]).encode()).hexdigest()


def least_loaded(seconds: Sequence[float], tasks: int) -> list[list[int]]:
    """Indexes of the frames by task, each task's descending by seconds.

    The longest first, each to the task that has the least so far: at most 4/3 of the least time
    (Graham 1969). tasks: at most as many as there are frames.
    """
    loads = [(0.0, 0, task) for task in range(tasks)]
    shares: list[list[int]] = [[] for _ in range(tasks)]
    for index in sorted(range(len(seconds)), key=lambda index: -seconds[index]):
        load, frames, task = loads[0]
        shares[task].append(index)
        heapq.heapreplace(loads, (load + seconds[index], frames + 1, task))
    return shares
