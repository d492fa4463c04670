"""Run a container that ends with this process, even if this process is killed.

``python lifeline.py ENGINE OPTION… IMAGE ARGUMENT…`` is ``ENGINE run OPTION… IMAGE ARGUMENT…``,
whose signals, output and exit status it passes on. A container otherwise outlives the command that
started it; a killed test would leave it behind, and a stand-in could not lose it.
"""

from __future__ import annotations

import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile

ENDED = b"."


def kill_when_orphaned(reader: int, kill: list[str]) -> None:
    """Wait for the word that the container has ended; kill it if the writer is gone before."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    if os.read(reader, 1) != ENDED:
        subprocess.run(kill, check=False)


def main(engine: list[str], arguments: list[str]) -> int:
    """The exit status of the container."""
    name = f"povstorm-{secrets.token_hex(6)}"
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        kill_when_orphaned(reader, [*engine, "kill", "--signal=KILL", name])
        os._exit(0)
    os.close(reader)
    # podman's monitor leaves a file called "oom" in its current folder.
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([*engine, "run", "--name", name, *arguments], cwd=folder)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: process.send_signal(number))
        status = process.wait()
    os.write(writer, ENDED)
    return status


if __name__ == "__main__":
    sys.exit(main(shlex.split(sys.argv[1]), sys.argv[2:]))
