"""Attempts as processes of this machine: the entrypoint's, or a container runtime's."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import signal
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from povstorm_client.launch.orphans import kill_all_about
from tests.emulators.cloud_run.container_memory import family, held_mib
from tests.emulators.cloud_run.containers import ContainerEnd, ContainerSpec
from tests.emulators.iam.project import GoogleProject

# Between SIGTERM and SIGKILL: https://cloud.google.com/run/docs/container-contract#job-shutdown.
GRACE_SECONDS = 10.0
# A shell's, and a container runtime's, word for a process that SIGKILL ended: here it means that
# the kernel did, for want of memory.
_OUT_OF_MEMORY = 137
_LOOK_SECONDS = 0.25


class ProcessContainers:
    """Runs ``command`` and the arguments for each attempt, in a process group of its own.

    command: the image's entrypoint, in place of which a job's ``command`` runs; or, if it has the
    word ``{image}`` in it, a container runtime's: ``{image}``, ``{memory}``, ``{name}`` are filled
    in, and ``{environment}`` becomes its --env options.

    A container that holds more memory than its size is ended as a whole. Where a container runtime
    runs it, the kernel ends single processes.

    engine: the runtime's command up to its verb. With it, containers called ``{name}`` are killed
    and removed when their command has ended, which a killed command cannot do itself.

    project: whose accounts containers run as, whose secrets their variables may refer to, and where
    what they print goes.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        engine: Sequence[str] = (),
        grace_seconds: float = GRACE_SECONDS,
        project: GoogleProject | None = None,
    ) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._engine = list(engine)
        self._grace = grace_seconds
        self._project = project
        self._signal_told = itertools.cycle((True, False))
        self._processes: dict[tuple[str, int, int], set[asyncio.subprocess.Process]] = defaultdict(
            set
        )

    async def run(self, spec: ContainerSpec) -> ContainerEnd:
        name = f"{spec.execution}-task{spec.index}-{secrets.token_hex(4)}"
        with tempfile.TemporaryDirectory(prefix="povstorm-cloud-run-") as home:
            try:
                process = await self._start(spec, name, home)
            except OSError as error:
                return ContainerEnd(not_started=str(error))
            running = self._processes[_key(spec)]
            running.add(process)
            watching = asyncio.create_task(self._until_beyond_memory(process, spec, home))
            try:
                status = await process.wait()
            except asyncio.CancelledError:
                await self._end(process)
                raise
            finally:
                running.discard(process)
                watching.cancel()
                await self._clean_up(process, name, home)
        if self._project is not None:
            with self._project.container_log(name).open("a", encoding="utf-8") as log:
                log.write(f"{name} ended with {status}\n")
        if status == _OUT_OF_MEMORY or (watching.done() and not watching.cancelled()):
            return ContainerEnd(out_of_memory=True, signal_told=next(self._signal_told))
        if status < 0:
            return ContainerEnd(term_signal=-status)
        return ContainerEnd(exit_code=status)

    def lose(self, spec: ContainerSpec) -> None:
        for process in self._processes[_key(spec)]:
            _kill_group(process)

    async def move(self, spec: ContainerSpec, *, notice: float, pause: float) -> None:
        for process in self._processes[_key(spec)]:
            with contextlib.suppress(ProcessLookupError):  # it ended in this moment
                process.send_signal(signal.SIGTSTP)
        await asyncio.sleep(notice)
        stopped = [one for process in self._processes[_key(spec)] for one in family(process.pid)]
        _send(stopped, signal.SIGSTOP)
        try:
            await asyncio.sleep(pause)
        finally:
            _send(stopped, signal.SIGCONT)

    async def _until_beyond_memory(
        self, process: asyncio.subprocess.Process, spec: ContainerSpec, home: str
    ) -> None:
        """Kill the container when it holds more than its memory; never returns otherwise."""
        if any("{memory}" in word for word in self._command):
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            # In this thread: in another one it could be killed after its number was given away.
            processes = family(process.pid)
            if held_mib(processes, home) > spec.memory_mib:
                _send(processes, signal.SIGKILL)
                return

    async def _start(self, spec: ContainerSpec, name: str, home: str) -> asyncio.subprocess.Process:
        variables = {**self._environment, **self._of_account(spec), **spec.environment}
        if "{image}" in self._command:
            command = self._runtime_command(spec, variables, name)
            environment = dict(os.environ)
        else:
            command = [*(spec.command or self._command), *spec.arguments]
            # A container's temporary files go with it.
            local = {"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": home}
            environment = {**local, **variables}
        log = Path(os.devnull) if self._project is None else self._project.container_log(name)
        with log.open("ab") as printed:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=printed,
                # podman's monitor leaves a file called "oom" in its current folder.
                cwd=home,
                env=environment,
                start_new_session=True,
            )

    def _of_account(self, spec: ContainerSpec) -> dict[str, str]:
        if self._project is None:
            return {}
        secrets_of = {name: self._project.secret(secret) for name, secret in spec.secrets.items()}
        return {
            **self._project.environment_of(spec.service_account),
            **{name: value for name, value in secrets_of.items() if value is not None},
        }

    def _runtime_command(
        self, spec: ContainerSpec, variables: Mapping[str, str], name: str
    ) -> list[str]:
        filled = {"{image}": spec.image, "{memory}": f"{spec.memory_mib}m", "{name}": name}
        words: list[str] = []
        for word in self._command:
            if word == "{environment}":
                words += [f"--env={name}={value}" for name, value in variables.items()]
                # The image's entrypoint is replaced, as the job asks for it.
                words += [f"--entrypoint={spec.command[0]}"] if spec.command else []
                continue
            words.append(word)
            for placeholder, value in filled.items():
                words[-1] = words[-1].replace(placeholder, value)
        return [*words, *spec.command[1:], *spec.arguments]

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):  # it ended in this moment
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._grace)
        except TimeoutError:
            _kill_group(process)
            await process.wait()

    async def _clean_up(self, process: asyncio.subprocess.Process, name: str, home: str) -> None:
        # A container's other processes end with its first one, also those of other groups.
        _kill_group(process)
        await asyncio.to_thread(kill_all_about, home)
        if self._engine:
            # One that ended by itself is not there for the first, nor, with --rm, for the second.
            for words in (("kill", "--signal=KILL", name), ("rm", "--force", name)):
                remover = await asyncio.create_subprocess_exec(
                    *self._engine,
                    *words,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                )
                await remover.wait()


def _send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended in this moment
            process.send_signal(number)


def _key(spec: ContainerSpec) -> tuple[str, int, int]:
    return spec.execution, spec.index, spec.attempt


def _kill_group(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
