"""Google credentials from a Prefect block, where a cluster names one; for Cluster and tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from povstorm_client.errors import InputError, ToolError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


def google_credentials(block: str) -> Credentials | None:
    """The credentials of a prefect-gcp GcpCredentials block; None ("") is the application default.

    Raises InputError if the Prefect server has no such block, ToolError if it does not answer.
    """
    if not block:
        return None
    import httpx
    from prefect_gcp import GcpCredentials

    try:
        loaded = GcpCredentials.load(block, _sync=True)
    except ValueError as error:
        raise InputError(
            f"there is no GcpCredentials block named {block!r} on the Prefect server: make one, or "
            "leave the name out to use the application default credentials"
        ) from error
    except httpx.HTTPError as error:
        raise ToolError(
            f"the Prefect server, which has the block {block!r}, does not answer ({error}): check "
            "PREFECT_API_URL, or log in with `prefect cloud login`"
        ) from error
    credentials: Credentials = loaded.get_credentials_from_service_account()
    return credentials
