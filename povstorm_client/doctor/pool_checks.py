"""What ``povstorm doctor`` finds in a work pool that starts flows on Cloud Run: its template.

A pool that was made without povstorm's template, as a worker makes one that starts first, takes
runs, and each of them fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from povstorm_client.doctor.check import Check, judged

# Of deployments/pools/cloud-run.json.
_OURS = "A flow of povstorm"
_LOGIN_SECRET = "povstorm-prefect-login"  # noqa: S105 - its name
_AGAIN = "make it again with the template of docs/deploy.md, and --overwrite"
# By a check's name, a secret's name and its version: whether flows can be given it.
LookAtSecret = Callable[[str, str, str], Check]


def check_pool(
    name: str,
    kind: str,
    template: dict[str, Any],
    *,
    server_in_network: bool,
    look_at_secret: LookAtSecret,
) -> Iterator[Check]:
    """A pool of a kind such as ``cloud-run-v2:push``; none of other kinds than Cloud Run's.

    template: its base job template. server_in_network: whether flows find their Prefect server in
    the project's network alone.
    """
    if not kind.startswith("cloud-run"):
        return
    variables = template.get("variables", {})
    properties = variables.get("properties", {})

    def default(variable: str) -> Any:  # noqa: ANN401 - JSON
        return properties.get(variable, {}).get("default")

    ours = _OURS in variables.get("description", "")
    yield judged(
        f"template of {name}",
        passed=ours,
        finding="is povstorm's"
        if ours
        else "is not povstorm's: a worker that starts first makes a pool with another",
        remedy=_AGAIN,
    )
    if kind.endswith(":push"):
        block = "$ref" in (default("credentials") or {})
        yield judged(
            f"credentials of {name}",
            passed=block,
            finding="are a block in your workspace"
            if block
            else "there are none: Prefect Cloud could start nothing in your project",
            remedy="store the submitter's key with deployments/push_pool.py, and " + _AGAIN,
        )
        yield _of_secret(
            f"API key of {name}",
            default("prefect_api_key_secret"),
            look_at_secret,
            without="Prefect writes it into each flow's Cloud Run job, where all who may look at "
            "jobs can read it",
            remedy="have the pool take it from Secret Manager: " + _AGAIN,
        )
    elif server_in_network:
        joined = bool(default("vpc_access"))
        yield judged(
            f"network of {name}",
            passed=joined,
            finding="flows join the one of Prefect's server"
            if joined
            else "flows would not reach Prefect's server, which answers in its network alone",
            remedy=_AGAIN,
        )
        yield _of_secret(
            f"login of {name}",
            default("prefect_api_auth_string_secret"),
            look_at_secret,
            without="flows have none, and Prefect's server refuses who has none",
            remedy=f"have the pool take {_LOGIN_SECRET} from Secret Manager: {_AGAIN}",
        )


def _of_secret(
    name: str,
    secret: dict[str, str] | None,
    look_at_secret: LookAtSecret,
    *,
    without: str,
    remedy: str,
) -> Check:
    """What is to be said of a secret that the pool's template names, or of that it names none."""
    if secret:
        return look_at_secret(name, secret["secret"], secret["version"])
    return Check(name, passed=False, finding=without, remedy=remedy)
