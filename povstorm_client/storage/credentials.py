"""Google credentials: of a Prefect block, where a cluster names one, or of a container's account.

Cluster and tasks call it for a block; what talks to Google for the account of the container that it
is in, and to tell a refusal from what may pass.
"""

from __future__ import annotations

import os
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

# Set in containers of jobs, and of services:
# https://cloud.google.com/run/docs/container-contract#env-vars
_ON_CLOUD_RUN = ("CLOUD_RUN_JOB", "K_SERVICE")


def container_credentials() -> Credentials | None:
    """Those of the account that a Cloud Run container runs as; None elsewhere, for the default.

    google.auth asks thrice, for 3 s each, whether there is a metadata server, and takes no answer
    for no (google/auth/compute_engine/_metadata.py, ``ping``). On Cloud Run there is: what is slow
    to answer where many containers begin is waited for, call by call.
    """
    if not any(name in os.environ for name in _ON_CLOUD_RUN):
        return None
    from google.auth import compute_engine, credentials, environment_vars

    if environment_vars.CREDENTIALS in os.environ:
        return None
    return compute_engine.Credentials(  # type: ignore[no-untyped-call]
        # It would be asked for, once, before any call that can be repeated.
        universe_domain=credentials.DEFAULT_UNIVERSE_DOMAIN
    )


def may_pass(error: BaseException) -> bool:
    """Whether there was no token because whoever gives it did not answer."""
    from google.auth.exceptions import GoogleAuthError, TransportError

    # Credentials of a container wrap it: google/auth/compute_engine/credentials.py.
    no_answer = isinstance(error, TransportError) or isinstance(error.__cause__, TransportError)
    return isinstance(error, GoogleAuthError) and (no_answer or bool(error.retryable))


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
