"""Google credentials from a Prefect block, where a cluster names one; and what they are refused.

Cluster and tasks call it; what talks to Google says a refusal in its words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from povstorm_client.errors import InputError, ToolError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.exceptions import GoogleAuthError


# https://cloud.google.com/iam/docs/access-change-propagation
GRANTS_SPREAD = (
    "what was granted a moment ago takes minutes to be in force, typically 2 and 7 or longer at "
    "times: then try again"
)


def refused_login(error: GoogleAuthError) -> str:
    """What to do where Google gives no token of the account to act as; "" for another error."""
    if "getAccessToken" not in str(error):
        return ""
    return (
        ". You may not act as this account: have yourself added to users in terraform.tfvars, and "
        f"run `terraform apply`; {GRANTS_SPREAD}"
    )


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
