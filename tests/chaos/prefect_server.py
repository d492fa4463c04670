"""A Prefect server that can be stopped and started again, with its database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
import pytest

from povstorm_client.launch.prefect_server import server_command
from tests.emulators.processes import free_port, wait_for_port

_START_SECONDS = 400


@contextmanager
def chosen(url: str) -> Iterator[None]:
    """Have flows of this process and of those that it starts report to the server there.

    Prefect reads its variable once a process: where it was imported before, it would start a server
    of its own besides, and fail where that takes more than 20 s.
    """
    # Prefect reads its home when it is imported: prefect_home has set that by now.
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: url}):
        patch.setenv("PREFECT_API_URL", url)
        yield


class PrefectServer:
    """Runs while ``with`` does; its database is in PREFECT_HOME.

    options, environment: further words of `prefect server start`, and variables. Without options it
    is the server that this starts, started as povstorm starts one, which takes a third less CPU.
    """

    def __init__(self, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self._options = options
        self._environment = {**os.environ, **(environment or {})}
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/api"

    def __enter__(self) -> PrefectServer:
        starts = server_command()
        if self._options:
            starts = [sys.executable, "-m", "prefect", "server", "start", *self._options]
        self._process = subprocess.Popen(
            [*starts, "--host", "127.0.0.1", "--port", str(self._port)],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self._port, self._process, _START_SECONDS)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """No server answers while the block runs, and until the next one has started."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    @contextmanager
    def held(self) -> Iterator[None]:
        """The server takes connections while the block runs, and answers none."""
        server = psutil.Process(self._process.pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()
