"""Containers: what runs one attempt at a task, as processes do, or simulated ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class ContainerSpec:
    """What one attempt runs: image, entrypoint (empty: the image's), arguments, variables, size.

    environment: the job's variables, and CLOUD_RUN_*. secrets: variables, and the names of the
    secrets that are their values. service_account: the e-mail of what it runs as, or "".
    """

    image: str
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    memory_mib: int
    cpus: float
    job: str
    execution: str
    index: int
    count: int
    attempt: int
    service_account: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ContainerEnd:
    """How an attempt ended: an exit code, a signal, more memory than allowed, or never started.

    not_started: why, if it could not be. signal_told: whether out of memory
    is also told as SIGKILL.
    """

    exit_code: int = 0
    term_signal: int = 0
    out_of_memory: bool = False
    signal_told: bool = True
    timed_out: bool = False
    not_started: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the task is done."""
        return self == ContainerEnd()


class Containers(Protocol):
    """Runs attempts. Cancelling run() ends the container: SIGTERM, and SIGKILL after a grace."""

    async def run(self, spec: ContainerSpec) -> ContainerEnd:
        """Run one attempt to its end; returns only when nothing of it is left."""

    def lose(self, spec: ContainerSpec) -> None:
        """Take the attempt's containers away, as when a machine fails."""

    async def move(self, spec: ContainerSpec, *, notice: float, pause: float) -> None:
        """Move the attempt's containers elsewhere: SIGTSTP, then a pause of all, then SIGCONT.

        notice: seconds from the signal to the pause; pause: how long it takes.
        """
