"""Containers: how the stand-in runs one attempt at a task, as a process or in the built image."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

# Between SIGTERM and SIGKILL: https://cloud.google.com/run/docs/container-contract#job-shutdown.
_GRACE_SECONDS = 10.0
_OUT_OF_MEMORY = 137


@dataclass(frozen=True)
class ContainerSpec:
    """What one attempt runs: image and arguments, CLOUD_RUN_* and the job's environment."""

    image: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    memory_mib: int


@dataclass(frozen=True)
class ContainerEnd:
    """How an attempt ended: an exit code, or the signal that the container was ended by."""

    exit_code: int = 0
    term_signal: int = 0
    message: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the task is done."""
        return self.exit_code == 0 and self.term_signal == 0


class Containers(Protocol):
    """Runs attempts; cancelling run() ends the container, with SIGTERM first."""

    async def run(self, spec: ContainerSpec) -> ContainerEnd:
        """Run one attempt to its end."""

    def kill_some(self, spec: ContainerSpec) -> None:
        """Lose the attempt's container, as when its machine fails."""


class ProcessContainers:
    """Attempts as processes of this machine: the command, then the arguments.

    command: of the container's entrypoint, or of a container runtime up to the image's name
    (``{image}`` and ``{memory}`` are filled in, and ``{environment}`` becomes its -e options).
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._processes: dict[int, list[asyncio.subprocess.Process]] = defaultdict(list)

    async def run(self, spec: ContainerSpec) -> ContainerEnd:
        in_runtime = "{image}" in self._command
        variables = {**self._environment, **spec.environment}
        process = await asyncio.create_subprocess_exec(
            *self._filled_in(spec, variables),
            *spec.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            env=dict(os.environ) if in_runtime else {"PATH": os.environ["PATH"], **variables},
            start_new_session=True,
        )
        self._processes[id(spec)].append(process)
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise
        finally:
            self._processes[id(spec)].remove(process)
        if status < 0:
            return ContainerEnd(term_signal=-status, message="The container was lost.")
        if status == _OUT_OF_MEMORY:
            return ContainerEnd(
                exit_code=status,
                message=f"Memory limit of {spec.memory_mib} MiB exceeded. Consider increasing the "
                "memory limit.",
            )
        if status:
            return ContainerEnd(exit_code=status, message="The container exited with an error.")
        return ContainerEnd()

    def kill_some(self, spec: ContainerSpec) -> None:
        for process in self._processes[id(spec)]:
            os.killpg(process.pid, signal.SIGKILL)

    def _filled_in(self, spec: ContainerSpec, variables: Mapping[str, str]) -> list[str]:
        words: list[str] = []
        for word in self._command:
            if word == "{environment}":
                words += [f"--env={name}={value}" for name, value in variables.items()]
            else:
                words.append(
                    word.replace("{image}", spec.image).replace("{memory}", f"{spec.memory_mib}m")
                )
        return words


async def _end(process: asyncio.subprocess.Process) -> None:
    try:
        process.terminate()
        await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    except ProcessLookupError:
        return  # it ended in this moment
