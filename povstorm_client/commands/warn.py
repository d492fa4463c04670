"""What the command line says on the way: one line each on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from povstorm_client.quantities import duration

if TYPE_CHECKING:
    from povstorm_client.scene.load_scene import Scene


def warn(message: str) -> None:
    """Print a warning."""
    print(f"povstorm: warning: {message}", file=sys.stderr)


def tell_trace(scene: Scene) -> None:
    """Say that a scene was run, if it was, and what for."""
    if scene.trace is not None:
        frames = "1 frame was" if scene.trace.frames == 1 else f"{scene.trace.frames} frames were"
        left = f"; {len(scene.left)} of them go on from what others leave" if scene.left else ""
        print(
            f"povstorm: {frames} parsed in {duration(scene.trace.seconds)}, to tell which files "
            f"they use{left}",
            file=sys.stderr,
        )
