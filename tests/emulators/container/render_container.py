"""The render container as Cloud Run would run it: the built image under a real container runtime.

The end-to-end tests and benchmarks/container_start.py start containers with it.
"""

from __future__ import annotations

import functools
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
_LIFELINE = Path(__file__).with_name("lifeline.py")
# Servers on 127.0.0.1 can be reached; no privileges, and a root that is not to be written to.
_WALLS = ("--network=host", "--cap-drop=ALL", "--security-opt=no-new-privileges")
_READ_ONLY = ("--read-only", "--tmpfs=/tmp")
# scripts/build_render_image: this machine can build and run no images.
_CANNOT = 3


class CannotRunContainersError(Exception):
    """Neither a Docker engine nor what podman needs is there; the message says what is missing."""


@dataclass(frozen=True)
class RenderContainer:
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
        root = _READ_ONLY if read_only else ()
        return [*self._run, *root, *settings, *options, self.image, *arguments]

    def command_in_stand_in(self, *visible: Path) -> list[str]:
        """The command for CloudRunServer; the image that a job names is only a label here.

        visible: folders that containers may read, where they are.
        """
        memory = ("--memory={memory}", "--memory-swap={memory}")
        label = ("--label", "{image}")
        seen = [f"--volume={folder}:{folder}:ro" for folder in visible]
        return [*self._run, *_READ_ONLY, *memory, *seen, *label, "{environment}", self.image]

    @property
    def _run(self) -> list[str]:
        lifeline = (sys.executable, "-P", str(_LIFELINE), shlex.join(self.engine))
        return [*lifeline, *self.options, "--rm", *_WALLS]


@functools.cache
def build_render_container() -> RenderContainer:
    """Build the image from the working tree, which is quick when it was built before.

    Raises CannotRunContainersError where that is impossible, RuntimeError if the build fails.
    """
    done = subprocess.run(
        [ROOT / "scripts" / "build_render_image"], capture_output=True, text=True, check=False
    )
    if done.returncode == _CANNOT:
        raise CannotRunContainersError(done.stderr.strip().splitlines()[-1])
    if done.returncode != 0:
        raise RuntimeError(f"the render image was not built:\n{done.stderr[-4000:]}")
    engine, options, image = done.stdout.splitlines()
    return RenderContainer(tuple(shlex.split(engine)), tuple(shlex.split(options)), image)


def task_environment(
    *, storage_emulator: str, index: int = 0, count: int = 1, attempt: int = 0
) -> dict[str, str]:
    """The variables that Cloud Run gives to an array task, and where the test's storage is.

    https://cloud.google.com/run/docs/container-contract#jobs-env-vars
    """
    return {
        "CLOUD_RUN_JOB": "povstorm-render-2g",
        "CLOUD_RUN_EXECUTION": "povstorm-render-2g-abcde",
        "CLOUD_RUN_TASK_INDEX": str(index),
        "CLOUD_RUN_TASK_COUNT": str(count),
        "CLOUD_RUN_TASK_ATTEMPT": str(attempt),
        "STORAGE_EMULATOR_HOST": storage_emulator,
    }
