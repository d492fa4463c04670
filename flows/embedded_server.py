"""EmbeddedServer: a Prefect server to tell one run of; record_run starts it.

Prefect would start one itself, but it imports the whole server to do so, in the process that asks,
which waits: 3.8 s of CPU (measured). Started from here it comes up while Prefect is imported. It is
the server that Prefect starts (prefect.server.api.server.SubprocessASGIServer), with the same
settings, on a socket that is bound before, so that no other program can take its port.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess

from povstorm_client.errors import ToolError
from povstorm_client.launch.prefect_server import server_command
from povstorm_client.programs.tools import die_with_parent

# What Prefect 3 sets for a server that lives as long as a process; it needs no user interface, and
# no run that it is told of makes blocks, to find whose types it would import prefect_gcp.
_SETTINGS = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
    "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
_LOOK_SECONDS = 0.1
_STOP_SECONDS = 10
_ANSWER_SECONDS = 30.0


class EmbeddedServer:
    """A started server; ``url`` is its API's, which does not answer before ``ready()`` returns."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
            command = [*server_command(), "--fd", str(listening.fileno())]
            self._process = subprocess.Popen(
                [*die_with_parent(), *command, "--log-level", "error"],
                pass_fds=(listening.fileno(),),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_SETTINGS},
            )

    async def ready(self) -> None:
        """Wait until it answers, however long that takes; ToolError if it ends instead."""
        # Prefect has imported it by now.
        import httpx

        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS) as client:
            while self._process.poll() is None:
                try:
                    # The socket listens already: what is asked waits for the server.
                    (await client.get(f"{self.url}/health")).raise_for_status()
                except httpx.HTTPError:
                    await asyncio.sleep(_LOOK_SECONDS)
                else:
                    return
        raise ToolError(self._end())

    async def ended(self) -> str:
        """Wait until it has ended by itself; how, in words."""
        while self._process.poll() is None:
            await asyncio.sleep(_LOOK_SECONDS)
        return self._end()

    def _end(self) -> str:
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return f"its server {how}"

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it, if it has not; what it was told is in its database."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
