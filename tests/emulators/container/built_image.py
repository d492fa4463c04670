"""An image of povstorm's, built from the working tree, and the command lines of its containers.

render_container.py and flow_container.py are the two.
"""

from __future__ import annotations

import functools
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[3]
_LIFELINE = Path(__file__).with_name("lifeline.py")
# Servers on 127.0.0.1 can be reached; no privileges, and a root that is not to be written to.
_WALLS = ("--network=host", "--cap-drop=ALL", "--security-opt=no-new-privileges")
READ_ONLY = ("--read-only", "--tmpfs=/tmp")
# scripts/build_image: this machine can build and run no images.
_CANNOT = 3


class CannotRunContainersError(Exception):
    """Neither a Docker engine nor what podman needs is there; the message says what is missing."""


@dataclass(frozen=True)
class BuiltImage:
    """What runs containers (``docker``, or podman with its folders), its options, the image."""

    engine: tuple[str, ...]
    options: tuple[str, ...]
    image: str

    def command(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        read_only: bool = True,
    ) -> list[str]:
        """The command line of one container; ``options`` are the engine's, e.g. ``--memory=64m``.

        SIGTERM to the command goes to the container; killing the command kills it. The container's
        exit status is the command's.
        """
        settings = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        root = READ_ONLY if read_only else ()
        return [*self.run, *root, *settings, *options, self.image, *arguments]

    @property
    def run(self) -> list[str]:
        """What a command line begins with, up to further options of the engine's."""
        lifeline = (sys.executable, "-P", str(_LIFELINE), shlex.join(self.engine))
        return [*lifeline, *self.options, "--rm", *_WALLS]


@functools.cache
def build_image(which: Literal["render", "flow"]) -> BuiltImage:
    """Build the image from the working tree, which is quick when it was built before.

    Raises CannotRunContainersError where that is impossible, RuntimeError if the build fails.
    """
    done = subprocess.run(
        [ROOT / "scripts" / "build_image", which], capture_output=True, text=True, check=False
    )
    if done.returncode == _CANNOT:
        raise CannotRunContainersError(done.stderr.strip().splitlines()[-1])
    if done.returncode != 0:
        raise RuntimeError(f"the {which} image was not built:\n{done.stderr[-4000:]}")
    engine, options, image = done.stdout.splitlines()
    return BuiltImage(tuple(shlex.split(engine)), tuple(shlex.split(options)), image)
