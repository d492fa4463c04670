"""What an animation does with files while it runs: asked for by load_scene, found by trace_process.

Some things can only be told by running a scene: names of files that it computes, and what one frame
leaves to the next. So all of its frames are parsed, in order, with one pixel each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from povstorm_client.frames.render_settings import RenderSettings


@dataclass(frozen=True)
class TraceRequest:
    """The frames to parse.

    settings: as for rendering. scene: the scene file; roots: the folders in which POV-Ray looks for
    the scene's own files, the current one first. beside: files and folders elsewhere that its names
    lead to. frames: those of POV-Ray's own loop, in its order. images: what that calls its images,
    without number and ending; None if it writes none that a scene could read. aliases: names that
    the scene has for files that are called otherwise here, or elsewhere → those files. writes:
    whether reading the scene has shown that it writes files, which then are a later frame's too.
    """

    settings: RenderSettings
    scene: Path
    roots: tuple[Path, ...]
    frames: range
    beside: frozenset[Path] = frozenset()
    images: Path | None = None
    aliases: Mapping[Path, Path] = field(default_factory=dict)
    writes: bool = True


@dataclass(frozen=True)
class FrameUse:
    """What a frame read of the scene's files; missing: what it looked for that is no file here."""

    read: frozenset[Path]
    missing: frozenset[Path]


@dataclass(frozen=True)
class Trace:
    """What was found.

    read: own files that frames opened, as they are here; sought: paths that they opened, or looked
    for, there or not; uses: the same by frames. state: frame → the files that earlier frames left
    and that it reads: where they were, and their bytes. images: frame → the images of earlier ones
    that it reads; what they show was not known. failures: frame → why it cannot be parsed.
    frames: how many were parsed; seconds: that it took. is_whole: whether all frames were run; they
    are not after one that failed and may have left the next ones anything.
    """

    read: frozenset[Path] = frozenset()
    sought: frozenset[Path] = frozenset()
    uses: Mapping[int, FrameUse] = field(default_factory=dict)
    state: Mapping[int, Mapping[Path, bytes]] = field(default_factory=dict)
    images: Mapping[int, frozenset[Path]] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)
    frames: int = 0
    seconds: float = 0.0
    is_whole: bool = True


# Raises ToolError where it cannot be had, InputError where the scene cannot be traced.
Tracer = Callable[[TraceRequest], Trace]
