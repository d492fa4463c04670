"""Where a job's live page is: a port and a token that stay the same for the job.

So a page that is open in a browser finds its server again after that was started anew. Both come
from a secret in $POVSTORM_HOME, which is its user's alone; a token opens one job.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from povstorm_client.errors import InputError, StorageError
from povstorm_client.storage import layout
from povstorm_client.storage.private_files import create_private_file, make_private_folder

HOST = "127.0.0.1"
# Below what Linux gives to connections that ask for none (32768 and up).
_FIRST_PORT, _PORTS = 20_000, 10_000
_SECRET_BYTES = 32
_FILE = "secret"


@dataclass(frozen=True)
class LiveAddress:
    """A job's page: http://127.0.0.1:PORT/TOKEN/jobs/JOB/."""

    job_id: str
    token: str
    port: int

    @property
    def prefix(self) -> str:
        """The path that everything of the job lies below, with a slash at its end."""
        return f"/{self.token}/{layout.job(self.job_id)}/"

    @property
    def url(self) -> str:
        """What a browser opens."""
        return f"http://{HOST}:{self.port}{self.prefix}"


def live_address(home: Path, storage_uri: str, job_id: str) -> LiveAddress:
    """The job's own address; home: $POVSTORM_HOME. StorageError if nothing can be kept there."""
    digest = hmac.new(_secret(home), f"{storage_uri}\n{job_id}".encode(), hashlib.sha256).digest()
    port = _FIRST_PORT + int.from_bytes(digest[16:20], "big") % _PORTS
    return LiveAddress(job_id, digest[:16].hex(), port)


def bound_socket(port: int, *, only: bool = False) -> socket.socket:
    """A listening socket on the loopback interface; another port where that one cannot be had.

    only: InputError instead of another port.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        if only:
            bound.close()
            raise InputError(
                f"port {port} cannot be had ({error.strerror}): give another with --port, or leave "
                "it out for one that is free"
            ) from error
        bound.bind((HOST, 0))
    bound.listen(64)
    return bound


def _secret(home: Path) -> bytes:
    folder = home / layout.LIVE_PAGE
    file = folder / _FILE
    try:
        if not file.is_file():
            make_private_folder(folder)
            partial = folder / f".{secrets.token_hex(8)}"
            create_private_file(partial)
            partial.write_bytes(secrets.token_bytes(_SECRET_BYTES))
            partial.replace(file)
        found = file.read_bytes()
    except OSError as error:
        raise StorageError(
            f"{file} cannot be used for the live page ({error.strerror}): choose another folder "
            "with POVSTORM_HOME"
        ) from error
    if len(found) != _SECRET_BYTES:
        raise StorageError(f"{file} is not what povstorm wrote: remove it")
    return found
