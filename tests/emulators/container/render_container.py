"""The render container as Cloud Run would run it: the built image under a real container runtime.

The end-to-end tests and benchmarks/container_start.py start containers with it.
"""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

from tests.emulators.container.built_image import READ_ONLY, BuiltImage, build_image


class RenderContainer(BuiltImage):
    """The image of render_image/Dockerfile."""

    def command_in_stand_in(self, *visible: Path) -> list[str]:
        """The command for CloudRunServer; the image that a job names is only a label here.

        visible: folders that containers may read, where they are.
        """
        memory = ("--memory={memory}", "--memory-swap={memory}")
        label = ("--label", "{image}")
        seen = [f"--volume={folder}:{folder}:ro" for folder in visible]
        return [*self.run, *READ_ONLY, *memory, *seen, *label, "{environment}", self.image]


def build_render_container() -> RenderContainer:
    """The image of this working tree; raises as build_image does."""
    return RenderContainer(*astuple(build_image("render")))


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
