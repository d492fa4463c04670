"""Which files numbered scenes use, each run as the still that it is; for load_scene."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from povstorm_client.programs.cores import whole_cores
from povstorm_client.scene.trace import Trace, Tracer, TraceRequest


def of_each_scene(tracer: Tracer, scenes: Mapping[int, Path]) -> Tracer:
    """A tracer that runs these scenes, by their frames, a process each and several at once.

    What each uses is not told apart: a frame's own scene is no shared file.
    """

    def trace(request: TraceRequest) -> Trace:
        begun = time.monotonic()

        def of_one(frame: int) -> Trace:
            return tracer(replace(request, scene=scenes[frame], frames=range(frame, frame + 1)))

        with ThreadPoolExecutor(whole_cores()) as pool:
            each = list(pool.map(of_one, scenes))
        return Trace(
            read=frozenset().union(*(found.read for found in each)),
            sought=frozenset().union(*(found.sought for found in each)),
            failures={frame: why for found in each for frame, why in found.failures.items()},
            frames=sum(found.frames for found in each),
            seconds=time.monotonic() - begun,
        )

    return trace
