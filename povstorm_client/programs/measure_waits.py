"""How long POV-Ray takes for an empty picture, with its own waits and with short ones.

``povstorm doctor`` says it, and ``python -m povstorm_client.programs.measure_waits``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from povstorm_client.errors import ToolError
from povstorm_client.programs.povray_waits import preload, waits_library
from povstorm_client.programs.tools import PovRay, require_povray

_SECONDS = 20
# An almost empty picture, which takes POV-Ray no time but its own waits.
_SCENE = "camera { location -z } sphere { 0, 0.1 }\n"


def measure_waits(povray: PovRay, runs: int = 3) -> dict[str, float]:
    """Wall seconds of the shortest of some runs on an empty scene: ``plain`` and ``short`` waits.

    Only ``plain`` where there is no library. ToolError if POV-Ray does not render it.
    """
    library = waits_library()
    ways = {"plain": {}, **({"short": preload(str(library))} if library else {})}
    with tempfile.TemporaryDirectory(prefix="povstorm-waits-") as name:
        scene = Path(name) / "scene.pov"
        scene.write_text(_SCENE, "utf-8")
        return {
            way: min(_seconds(povray, scene, variables) for _ in range(runs))
            for way, variables in ways.items()
        }


def _seconds(povray: PovRay, scene: Path, variables: dict[str, str]) -> float:
    command = [str(povray.path), f"+I{scene.name}", "+Oimage.png", "+W8", "+H8", "-D", "+WT1"]
    before = time.monotonic()
    try:
        subprocess.run(
            command,
            cwd=scene.parent,
            env={"HOME": str(scene.parent), **variables},
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolError(f"POV-Ray cannot render an empty picture: {error}") from error
    return time.monotonic() - before


if __name__ == "__main__":
    json.dump(measure_waits(require_povray()), sys.stdout)
