"""A Prefect server for one run on this machine, where the user has none.

Prefect would start one itself, but it imports the whole server to do so, in the flow's process,
which waits: 3.8 s of CPU (measured). Started from here it comes up while
frames are rendered and Prefect is imported. It is the server that Prefect starts
(prefect.server.api.server.SubprocessASGIServer), with the same settings, on a socket that is bound
before, so that no other program can take its port.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from povstorm_client.errors import ToolError
from povstorm_client.programs.tools import die_with_parent

# What Prefect 3 sets for a server that lives as long as a process; it needs no user interface.
_SETTINGS = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
# Files in which Prefect looks for settings, beside the environment (Prefect 3, "Settings").
_SETTINGS_FILES = ("prefect.toml", "pyproject.toml", ".env")
# Frames are rendered meanwhile, so patience costs nothing; a busy machine may need it.
_START_SECONDS = 300.0
_LOOK_SECONDS = 0.1
_STOP_SECONDS = 10


def may_be_configured(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the user may have a Prefect server, or settings of the embedded one.

    Prefect itself can tell, once it is imported; this errs on the side of yes.
    """
    if any(
        name in environment
        for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE")
    ):
        return True
    home = Path(environment.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    profiles = Path(environment.get("PREFECT_PROFILES_PATH") or home / "profiles.toml")
    return _names(profiles, "PREFECT_") or any(
        _names(Path(file), "prefect") for file in _SETTINGS_FILES
    )


def _names(file: Path, word: str) -> bool:
    """Whether a file has the word; one that cannot be read may have it."""
    try:
        return word.casefold() in file.read_text(errors="replace").casefold()
    except FileNotFoundError:
        return False
    except OSError:
        return True


class EmbeddedServer:
    """A started server; ``url`` is its API's, which does not answer before ``ready()`` returns."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
            command = [sys.executable, "-P", "-m", "uvicorn", "--factory"]
            command += ["prefect.server.api.server:create_app", "--fd", str(listening.fileno())]
            self._process = subprocess.Popen(
                [*die_with_parent(), *_politely(), *command, "--log-level", "error"],
                pass_fds=(listening.fileno(),),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_SETTINGS},
            )

    async def ready(self) -> None:
        """Wait until it answers; ToolError if it ends instead, or takes minutes."""
        import httpx

        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        async with httpx.AsyncClient(timeout=_START_SECONDS) as client:
            while self._process.poll() is None:
                try:
                    # The socket listens already: what is asked waits for the server.
                    (await client.get(f"{self.url}/health")).raise_for_status()
                except httpx.HTTPError as error:
                    problem = f"{type(error).__name__} {error}"
                else:
                    return
                if asyncio.get_running_loop().time() > deadline:
                    raise ToolError(f"Prefect's server does not answer: {problem}")
                await asyncio.sleep(_LOOK_SECONDS)
        raise ToolError(f"Prefect's server ended with exit code {self._process.returncode}")

    def stop(self) -> None:
        """End it; what it was told is in its database."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _politely() -> list[str]:
    """What to put before a command so that POV-Ray goes before it: coreutils' nice(1)."""
    nice = shutil.which("nice")
    return [nice, "-n", "5"] if nice else []
