"""Frames that go on from images that earlier frames render, and the links of their chain.

What such images show is known only when they are rendered, and so is whatever the scene then writes
to files. So each frame is left all files of the one before it, as POV-Ray's own loop leaves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from povstorm_client.errors import InputError
from povstorm_client.frames.chain_link import ChainLink
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.scene.trace import Trace
from povstorm_client.scene.tree import SceneTree


def chain_links(
    trace: Trace, images: Path | None, tree: SceneTree, numbers: Sequence[int], loop: range
) -> dict[int, ChainLink]:
    """Frame → its link; empty where no frame reads an earlier one's image.

    images: what POV-Ray's own loop calls its images here, without number and ending; numbers: the
    frames to render; loop: those of POV-Ray's own loop. Raises InputError where some of the loop's
    frames are not to be rendered: others go on from them.
    """
    if not trace.images or images is None:
        return {}
    if left_out := sorted(set(loop) - set(numbers)):
        reader = min(trace.images)
        raise InputError(
            f"frame {reader} reads {min(trace.images[reader]).name}, which an earlier frame "
            f"renders, so that each frame goes on from the one before it: render frames "
            f"{frame_ranges(left_out)} too"
        )
    last_use: dict[Path, int] = {}
    for frame, read in trace.images.items():
        for path in read:
            last_use[path] = max(frame, last_use.get(path, frame))
    prefix = tree.place_of(images)
    number_of = {path: int(path.stem.removeprefix(images.name)) for path in last_use}
    return {
        frame: ChainLink(
            prefix,
            tuple(
                sorted(
                    tree.place_of(path)
                    for path, last in last_use.items()
                    if number_of[path] <= frame < last
                )
            ),
        )
        for frame in numbers
    }


def chain_warning(trace: Trace) -> str:
    """That a chain is rendered in order, and why."""
    reader = min(trace.images)
    return (
        f"frame {reader} reads {min(trace.images[reader])}, which an earlier frame renders: the "
        "frames are rendered in their order, one at a time, each with the files that the one "
        "before it left"
    )
