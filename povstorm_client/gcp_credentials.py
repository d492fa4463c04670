"""Google credentials from a Prefect block, where a cluster names one; for Cluster and tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from povstorm_client.errors import InputError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


def google_credentials(block: str) -> Credentials | None:
    """The credentials of a prefect-gcp GcpCredentials block; None ("") is the application default.

    Raises InputError if there is no such block on the Prefect server.
    """
    if not block:
        return None
    from prefect_gcp import GcpCredentials

    try:
        loaded = GcpCredentials.load(block, _sync=True)
    except ValueError as error:
        raise InputError(
            f"there is no GcpCredentials block named {block!r} on the Prefect server: make one, or "
            "leave the name out to use the application default credentials"
        ) from error
    credentials: Credentials = loaded.get_credentials_from_service_account()
    return credentials
