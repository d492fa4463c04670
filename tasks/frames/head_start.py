"""The first frames of a job, which show whether its scene can be parsed at all.

map_frames goes by them: a scene that nobody has rendered yet is one that
somebody may just have edited. One frame goes ahead, until it renders; if it fails instead, another
tries, from elsewhere in the animation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from povstorm_client.frames.work_unit import WorkUnit
from tasks.renderers.renderer import SAME_FAILURES, Renderer

# How long the first frame may be alone. POV-Ray says after 0.4 to 0.5 s that it has parsed a light
# scene (measured); one that takes longer than this to parse costs the job this much, once.
_SECONDS = 2.0


def head_frames(units: Sequence[WorkUnit], stored: Collection[str]) -> list[WorkUnit]:
    """The frames to go ahead: first, last and middle; none where that proves or saves nothing.

    stored: ids of units that are rendered already. Of frames with scenes of their own each may
    fail for itself, and of a chain none comes before the first.
    """
    if stored or len(units) <= SAME_FAILURES or units[0].link is not None:
        return []
    heads = [units[0], units[-1], units[len(units) // 2]]
    return heads if len({_scene(unit) for unit in heads}) == 1 else []


def _scene(unit: WorkUnit) -> tuple[object, ...]:
    files = tuple(sorted(unit.inline_resource.items()))
    return unit.settings.scene, unit.shared_resource_gcs_prefix, files


async def has_failed_first(renderer: Renderer, failing: asyncio.Task[bool]) -> bool:
    """Wait until a frame is past parsing, has its result or has been waited for; whether it failed.

    failing: ends when the frame that goes ahead has its result; whether that is its failure.
    """
    parsed = asyncio.ensure_future(renderer.has_parsed())
    try:
        await asyncio.wait({parsed, failing}, timeout=_SECONDS, return_when="FIRST_COMPLETED")
    finally:
        parsed.cancel()
    return failing.done() and failing.result()
