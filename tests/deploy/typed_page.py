"""The shell blocks of a page, and a shell that they are typed into one after another.

Each block runs in a bash of its own, which has the variables and functions that the one before
left.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Commands that go on until they are stopped: who types them goes on in another terminal.
_ENDLESS = re.compile(r"\bprefect worker start\b|\bgcloud run services proxy\b")
_BLOCK_SECONDS = 400
_ENDING_SECONDS = 30


def all_shell_blocks(page: Path) -> list[str]:
    """Every block of a page, in order."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def shell_blocks(page: Path, start: str, end: str) -> list[str]:
    """The blocks between two texts of the page, in order; each text has to be in it once."""
    text = page.read_text(encoding="utf-8")
    for place in (start, end):
        assert text.count(place) == 1, f"{page.name} has {place!r} {text.count(place)} times"
    return _BLOCK.findall(text[text.index(start) : text.index(end)])


class Shell:
    """A person's shell in a folder; closing it ends all that was left running in it.

    typed_instead: what stands in the page for what a person has, and what they have.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], typed_instead: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self._environment = dict(environment)
        self.typed_instead = dict(typed_instead)
        self._state = folder.parent / "shell-state"
        self._state.write_text("")
        self._left: list[int] = []

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *exception: object) -> None:
        left = [process for process in psutil.process_iter() if self._started(process)]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        # A worker may wait for ever for a server that has gone meanwhile.
        _, still_running = psutil.wait_procs(left, timeout=_ENDING_SECONDS)
        for process in still_running:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _started(self, process: psutil.Process) -> bool:
        try:
            return os.getpgid(process.pid) in self._left
        except ProcessLookupError:
            return False

    def forget(self, variable: str) -> None:
        """Go on without a variable that was set before anything was typed."""
        self.type(f"unset {variable}")
        del self._environment[variable]

    def leave_running(self, command: str, **environment: str) -> None:
        """Start a command in another terminal, in which these variables are others."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command} >> other-terminal.txt 2>&1"],
            cwd=self.folder,
            env={**self._environment, **environment},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._left.append(process.pid)

    def type(self, block: str, answer: str = "") -> str:
        """Run a block in which nothing may fail; returns what it printed.

        answer: what is typed when it asks.
        """
        status, printed = self._run(block, answer, "set -eo pipefail")
        assert status == 0, f"{block}\nended with {status}:\n{printed[-6000:]}"
        return printed

    def type_on(self, block: str) -> str:
        """Run a block as a person's shell does, which goes on after a command that fails."""
        _, printed = self._run(block, "", "")
        return printed

    def _run(self, block: str, answer: str, options: str) -> tuple[int, str]:
        for placeholder, own in self.typed_instead.items():
            block = block.replace(placeholder, own)
        script = (
            f'source "{self._state}"\n{options}\n{_in_other_terminals(block)}\n'
            f'set +eo pipefail\n{{ declare -px; declare -f; }} > "{self._state}"\n'
        )
        output = self.folder.parent / "typed.txt"
        # What stays in the background keeps the output open.
        with output.open("w") as target:
            process = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=target,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
            self._left.append(process.pid)
            assert process.stdin is not None
            process.stdin.write(answer)
            process.stdin.close()
            status = process.wait(_BLOCK_SECONDS)
        return status, output.read_text(errors="replace")


def _in_other_terminals(block: str) -> str:
    """The block with endless commands in the background; continued lines are one command."""
    commands = re.split(r"(?<!\\)\n", block.rstrip("\n"))
    return "\n".join(
        f"{command} >> other-terminal.txt 2>&1 &" if _ENDLESS.search(command) else command
        for command in commands
    )
