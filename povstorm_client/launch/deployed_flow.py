"""DeployedFlow: a run of a render-job deployment on a Prefect server; Cluster starts it.

Prefect is imported here, by the first that submits to a deployment, and nowhere else in the
user's process.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from povstorm_client.errors import InputError, JobError
from povstorm_client.terminal import one_line

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

# A worker that is asked to stop needs a moment, a Cloud Run instance that has to be ended more.
_STOP_SECONDS = 120.0
_POLL_SECONDS = 2.0


class DeployedFlow:
    """A flow run, by its id; states are asked for no more often than every two seconds.

    ask_to_stop: leaves the note that a running flow looks for.
    """

    def __init__(self, flow_run_id: uuid.UUID, ask_to_stop: Callable[[], None]) -> None:
        self.flow_run_id = flow_run_id
        self._ask_to_stop = ask_to_stop
        self._asked = 0.0
        self._returncode: int | None = None

    @classmethod
    def start(
        cls,
        deployment: str,
        job_uri: str,
        gcp_credentials: str,
        ask_to_stop: Callable[[], None],
    ) -> DeployedFlow:
        """Start a run of the deployment ``FLOW/NAME`` for a stored job.

        Raises InputError where the server has no such deployment, JobError where there is no
        server to ask.
        """
        from prefect.deployments import run_deployment

        parameters = {"job_uri": job_uri, "gcp_credentials": gcp_credentials}
        with _answering(deployment):
            # timeout=0: the run is made and not waited for.
            run = cast(
                "FlowRun",
                run_deployment(deployment, parameters=parameters, timeout=0, as_subflow=False),
            )
        return cls(run.id, ask_to_stop)

    @property
    def returncode(self) -> int | None:
        """0 for Completed, 1 for another final state, None while it waits or runs."""
        if self._returncode is None and time.monotonic() - self._asked >= _POLL_SECONDS:
            self._asked = time.monotonic()
            from prefect.client.orchestration import get_client

            with _answering(), get_client(sync_client=True) as client:
                state = client.read_flow_run(self.flow_run_id).state
            if state is not None and state.is_final():
                self._returncode = 0 if state.is_completed() else 1
        return self._returncode

    def wait(self, seconds: float) -> None:
        """Wait so long; nobody tells of its end."""
        time.sleep(seconds)

    @property
    def log(self) -> str:
        """The run's page in the Prefect UI, or its id where the UI's address is not known."""
        from prefect.settings import get_current_settings

        ui = get_current_settings().ui_url
        return f"{ui}/runs/flow-run/{self.flow_run_id}" if ui else f"flow run {self.flow_run_id}"

    @property
    def last_words(self) -> str:
        """The message of the run's state."""
        from prefect.client.orchestration import get_client

        with _answering(), get_client(sync_client=True) as client:
            state = client.read_flow_run(self.flow_run_id).state
        return one_line(state.message or state.name) if state is not None else ""

    def stop(self) -> None:
        """End the run: at once if it has not begun, else as soon as it sees the note.

        It is not set Cancelling: a flow that ends in that moment would stay so for ever.
        """
        from prefect.client.orchestration import get_client
        from prefect.states import Cancelled

        self._ask_to_stop()
        with _answering(), get_client(sync_client=True) as client:
            state = client.read_flow_run(self.flow_run_id).state
            if state is not None and (state.is_scheduled() or state.is_pending()):
                client.set_flow_run_state(self.flow_run_id, Cancelled(), force=True)
        deadline = time.monotonic() + _STOP_SECONDS
        while self.returncode is None:
            if time.monotonic() > deadline:
                raise JobError(
                    f"{self.log} has not ended {_STOP_SECONDS:.0f} s after it was told to stop: "
                    "look at it in the Prefect UI"
                )
            time.sleep(_POLL_SECONDS / 4)


def require_deployment_takes_runs(deployment: str, *, from_folder: bool) -> None:
    """Raise InputError unless the server has the deployment, and its flows can see the storage.

    from_folder: jobs are in a folder of this machine, which flows see in processes of a worker
    here. Prints a warning where nothing would begin the run.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import WorkPoolStatus

    with _answering(deployment), get_client(sync_client=True) as client:
        name = client.read_deployment_by_name(deployment).work_pool_name
        pool = client.read_work_pool(name) if name else None
    if pool is None:
        return  # served by a process of its own: flow.serve()
    if from_folder and pool.type != "process":
        raise InputError(
            f"the deployment {deployment} runs on work pool {pool.name} of type {pool.type}, which "
            "does not see this machine's folder: choose one on a process pool whose worker is "
            "here, such as render-job/local, or render on Google Cloud with --cluster OUTPUTS.JSON"
        )
    if pool.is_paused:
        waits, remedy = "is paused", f"prefect work-pool resume {pool.name}"
    elif pool.status == WorkPoolStatus.NOT_READY and not pool.is_push_pool:
        waits, remedy = "has no worker", f"prefect worker start --pool {pool.name}"
    else:
        return
    print(
        f"povstorm: warning: work pool {pool.name} {waits}: the job begins after `{remedy}`",
        file=sys.stderr,
    )


@contextmanager
def _answering(deployment: str = "") -> Iterator[None]:
    """Have what Prefect's client raises said in povstorm's words."""
    import httpx
    from prefect.exceptions import ObjectNotFound

    try:
        yield
    except ObjectNotFound as error:
        if not deployment:
            raise JobError("the Prefect server has no such flow run: it was deleted") from error
        raise InputError(
            f"the Prefect server has no deployment {deployment}: make it with `prefect deploy` "
            "(docs/deploy.md), or choose another"
        ) from error
    except httpx.HTTPError as error:
        raise JobError(
            f"the Prefect server does not answer ({one_line(error)}): check PREFECT_API_URL, or "
            "log in with `prefect cloud login`"
        ) from error
