"""``povstorm check``: parse all frames of a scene, before anything is spent on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from povstorm_client.commands.scene_options import (
    Frames,
    Include,
    Povray,
    Sandbox,
    SceneArgument,
    Switches,
    sandbox_mode,
)
from povstorm_client.commands.warn import warn
from povstorm_client.errors import ToolError
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.quantities import byte_size, duration
from povstorm_client.scene_job import read_scene


def check(
    scene: SceneArgument,
    switches: Switches = None,
    frames: Frames = None,
    include: Include = None,
    sandbox: Sandbox = None,
    povray: Povray = None,
) -> None:
    """Parse all frames of a scene, with a pixel each, and tell what they do with files.

    Nothing is rendered or stored. An error tells which frames cannot be parsed, and why.
    """
    loaded = read_scene(
        scene,
        switches=switches,
        frames=frames,
        size=None,
        preview=False,
        include=include,
        threads=1,
        warn=warn,
        sandbox=sandbox_mode(sandbox),
        always_trace=True,
        refuse_unparsable=True,
    )
    trace = loaded.trace
    if trace is None:
        raise ToolError("the scene cannot be run here: `povstorm doctor` says what is missing")
    parsed = "1 frame" if trace.frames == 1 else f"{trace.frames} frames"
    print(
        f"frames  {frame_ranges(loaded.frames)} can be rendered: {parsed} parsed in "
        f"{duration(trace.seconds)}"
    )
    print(f"files   {len(loaded.files)}, {byte_size(_size(loaded.files.values()))}")
    for line in _state_lines(loaded.left):
        print(line)


def _size(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def _state_lines(state: Mapping[int, Mapping[str, bytes]]) -> list[str]:
    readers: dict[str, list[int]] = {}
    most: dict[str, int] = {}
    for frame, files in state.items():
        for path, data in files.items():
            readers.setdefault(path, []).append(frame)
            most[path] = max(most.get(path, 0), len(data))
    return [
        f"state   {path.removeprefix('scene/')}, up to {byte_size(most[path])}, is left to "
        f"{'frame' if len(readers[path]) == 1 else 'frames'} {frame_ranges(sorted(readers[path]))}"
        for path in sorted(readers)
    ]
