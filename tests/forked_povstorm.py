"""``povstorm`` in processes of their own, forked from one that has imported it already.

Half a second of imports is most of what a command takes that only says why it does nothing. Tests
of many such commands call ForkedPovstorm; what is tested of the start itself is really started.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_MOST_BYTES = 1 << 17


class ForkedPovstorm:
    """The process that is forked; runs one command at a time."""

    def __enter__(self) -> ForkedPovstorm:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.forked_povstorm"],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=theirs,
            )
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()
        self._process.wait(60)

    def start(
        self,
        words: Sequence[str | bytes],
        streams: tuple[int, int, int],
        environment: Mapping[str, str],
        folder: Path,
        before: str = "",
    ) -> None:
        """Start a command; streams: its input, output and error output, as descriptors.

        before: Python that is run in its process first.
        """
        request = [[os.fsdecode(word) for word in words], dict(environment), str(folder), before]
        socket.send_fds(self._connection, [json.dumps(request).encode()], streams)

    def wait(self) -> int:
        """The return code of what was started, once it has ended."""
        return int(self._connection.recv(_MOST_BYTES))

    def run(
        self, words: Sequence[str | bytes], environment: Mapping[str, str], before: str = ""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in this process's folder, without input."""
        with (
            Path(os.devnull).open("rb") as nothing,
            tempfile.TemporaryFile() as output,
            tempfile.TemporaryFile() as errors,
        ):
            streams = (nothing.fileno(), output.fileno(), errors.fileno())
            self.start(words, streams, environment, Path.cwd(), before)
            code = self.wait()
            for file in (output, errors):
                file.seek(0)
            return subprocess.CompletedProcess([*words], code, output.read(), errors.read())


def _serve(connection: socket.socket) -> None:
    """Fork for each request; returns in those processes, and raises SystemExit in this one."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, _MOST_BYTES, 3)
        if not data:
            sys.exit()
        child = os.fork()
        if child == 0:
            connection.close()
            _become(*json.loads(data), descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(
    words: list[str], environment: dict[str, str], folder: str, before: str, descriptors: list[int]
) -> None:
    """Make this process what it would be if it had been started so."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # As Python opens them.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", 1 if os.isatty(1) else -1, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["povstorm", *words]
    exec(before, {})  # noqa: S102 - a test's own


if __name__ == "__main__":
    from povstorm_client import cli, command_line

    with contextlib.redirect_stdout(io.StringIO()):
        # Which imports what commands do when they are called.
        command_line.run(["render", "--help"])
    gc.freeze()
    _serve(socket.socket(fileno=os.dup(0)))
    try:
        cli.main()
    except SystemExit as ended:
        # All is written; to take the interpreter apart would first copy most of what was forked.
        os._exit(int(ended.code or 0))
