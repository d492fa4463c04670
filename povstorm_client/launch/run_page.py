"""The address of a job's page on a Prefect server; ``povstorm ui`` opens it.

Flow runs are marked with RUN_LABEL (flows/run_label.py).
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
import uuid
from typing import Any

from povstorm_client.errors import InputError, ToolError
from povstorm_client.jobs.state import JobState
from povstorm_client.launch.prefect_server import PrefectServer, chosen_setting
from povstorm_client.terminal import one_line

# The label of a flow run with what JobState calls the run.
RUN_LABEL = "povstorm.run"
_ANSWER_SECONDS = 10.0
_CLOUD = re.compile(
    r"https://api\.prefect\.cloud/api/accounts/([0-9a-f-]+)/workspaces/([0-9a-f-]+)/?"
)


def pages_of(server: PrefectServer) -> str:
    """Where the server's pages are: its runs are listed there.

    https://docs.prefect.io/v3/api-ref/settings-ref, ui_url.
    """
    if chosen := chosen_setting("PREFECT_UI_URL"):
        return chosen.rstrip("/")
    if cloud := _CLOUD.fullmatch(server.url):
        return f"https://app.prefect.cloud/account/{cloud[1]}/workspace/{cloud[2]}"
    return server.url.rstrip("/").removesuffix("/api")


def run_page(server: PrefectServer, job_id: str, state: JobState | None) -> str:
    """The page of the run that the job's state is of.

    Raises InputError if the server does not know it, ToolError if it does not say.
    """
    wanted = {
        "flow_runs": {"name": {"any_": [job_id]}},
        "sort": "EXPECTED_START_TIME_DESC",
        "limit": 1,
    }
    runs = _posted(server, "flow_runs/filter", wanted)
    try:
        if not runs:
            raise InputError(
                f"the Prefect server at {server.url} knows no run of job {job_id}: it ran on "
                "another server, is told of later or has not begun, or its history was deleted"
            )
        page = f"{pages_of(server)}/runs/flow-run/{uuid.UUID(runs[0]['id'])}"
        # Those of deployments have none until they begin, and where an earlier version ran them.
        label = (runs[0].get("labels") or {}).get(RUN_LABEL)
        if state is not None and label != state.run and (label or state.recording):
            raise InputError(
                f"the Prefect server at {server.url} knows only an earlier run of job {job_id}, "
                f"{page}: of the latest it is told later, or was not told"
            )
        return page
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ToolError(
            f"what answers at {server.url} is no Prefect server: {one_line(str(runs))[:200]}"
        ) from error


def _posted(server: PrefectServer, path: str, body: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    headers = {"Content-Type": "application/json", "User-Agent": "povstorm"}
    if key := chosen_setting("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(  # noqa: S310
        f"{server.url.rstrip('/')}/{path}", json.dumps(body).encode(), headers
    )
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310
            return json.loads(answer.read(1 << 20))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ToolError(
            f"the Prefect server at {server.url}, chosen by {server.chosen_by}, does not answer "
            f"({one_line(str(reason))}): look whether it runs, and whether you are logged in there"
        ) from error
