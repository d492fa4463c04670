"""A job's address, STORAGE/jobs/JOB_ID: what clients print, and flows and containers are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from povstorm_client.errors import InputError
from povstorm_client.storage import layout
from povstorm_client.storage.open_storage import open_storage
from povstorm_client.storage.protocol import Storage

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


def check_job_id(job_id: str) -> None:
    """Raise InputError unless job_id is safe in keys, file names and labels."""
    if not layout.is_job_id(job_id):
        raise InputError(
            f"job id {job_id!r} is not usable: lower-case letters, digits and '-', at most 100"
        )


def job_uri(storage: Storage, job_id: str) -> str:
    """A job's address: the storage's uri and the job's prefix."""
    return f"{storage.uri}/{layout.job(job_id)}"


def open_job(uri: str, credentials: Credentials | None = None) -> tuple[Storage, str]:
    """The storage and job id that a job uri names; raises InputError if it names none.

    credentials: for Google Cloud; None for the application default.
    """
    root, separator, job_id = uri.rstrip("/").rpartition(f"/{layout.JOBS}/")
    if not separator:
        raise InputError(f"{uri!r} is no job uri: expected STORAGE/{layout.JOBS}/JOB_ID")
    check_job_id(job_id)
    return open_storage(root, credentials), job_id
