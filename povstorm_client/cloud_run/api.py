"""The part of the Cloud Run Admin API v2 that povstorm uses, over google-cloud-run.

The dispatcher runs and watches executions with it, Cluster looks at them. All calls block; the
google client is imported by the first, so that a local run does not pay for it.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from povstorm_client.errors import CloudError
from povstorm_client.storage.credentials import (
    GRANTS_SPREAD,
    container_credentials,
    may_pass,
    refused_login,
)
from povstorm_client.terminal import one_line

if TYPE_CHECKING:
    from google.api_core.exceptions import ClientError
    from google.auth.credentials import Credentials
    from google.cloud import run_v2

# Where the Admin API is instead of at Google, as STORAGE_EMULATOR_HOST says it for storage.
EMULATOR_VARIABLE = "CLOUD_RUN_EMULATOR_HOST"
_RUN_PERMISSIONS = ("run.jobs.get", "run.jobs.run", "run.jobs.runWithOverrides")
# Google's words for a quota that is used up, whatever the status of its answer: "Quota exceeded for
# total allowable CPU per project per region.", "Quota violated: CpuAllocPerProjectRegion requested:
# … allowed: …", "exceeded its quota limit".
_OVER_QUOTA = re.compile(r"quota (exceeded|violated)|exceeded its quota", re.IGNORECASE)
# Quotas that a smaller execution uses up as well: of calls a minute, and of executions.
_OF_CALLS = re.compile(r"\brate\b|per minute|running executions", re.IGNORECASE)
# With which a container ends that the storage refuses: EX_NOPERM of sysexits.h.
NOT_LET_IN = 77
# A container that used more than its memory ends like a process that the kernel killed for it.
OUT_OF_MEMORY = 137

TaskOutcome = Literal["waiting", "running", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class ExecutionState:
    """An execution: its full name, and what Cloud Run says of it.

    wave_uri: the argument its containers were given. Times are Unix seconds, completed is None
    while it runs. message: why it failed, in Google's words.
    """

    name: str
    wave_uri: str
    task_count: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    retried: int
    created: float
    completed: float | None
    message: str

    @property
    def has_begun(self) -> bool:
        """Whether any of its tasks is, or was, at work."""
        return any((self.running, self.succeeded, self.failed, self.cancelled, self.retried))

    @property
    def short_name(self) -> str:
        """The name as the console and CLOUD_RUN_EXECUTION have it."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class TaskState:
    """An array task: its index, its outcome, and Google's words for a failure.

    exit_code and term_signal: of the last attempt; at most one of them is not 0.
    """

    index: int
    outcome: TaskOutcome
    exit_code: int
    term_signal: int
    message: str
    started: float | None
    completed: float | None

    @property
    def out_of_memory(self) -> bool:
        """Whether the container was ended because it used too much memory."""
        told = self.exit_code == OUT_OF_MEMORY or "memory limit" in self.message.lower()
        return self.outcome == "failed" and told

    @property
    def not_let_in(self) -> bool:
        """Whether its account was refused by the storage, so that it could not begin."""
        return self.outcome == "failed" and self.exit_code == NOT_LET_IN

    @property
    def has_ended(self) -> bool:
        """Whether it stores nothing any more."""
        return self.outcome in ("succeeded", "failed", "cancelled")

    @property
    def ran_seconds(self) -> float:
        """From start to end; 0 for a task that never started or has not ended."""
        if self.started is None or self.completed is None:
            return 0.0
        return self.completed - self.started


class CloudRunApi(Protocol):
    """Cloud Run jobs and their executions; every call raises CloudError when it fails.

    Jobs and executions are named in full: ``projects/P/locations/R/jobs/J[/executions/E]``.
    """

    def image(self, job: str) -> str:
        """The image that the job's container runs."""

    def missing_permissions(self, job: str) -> list[str]:
        """Which of the permissions to run the job with overrides the caller lacks."""

    def run(self, job: str, *, wave_uri: str, tasks: int) -> str:
        """Start an execution of so many array tasks for a wave; returns its name.

        CloudError of kind "unclear" may have started it: look for its wave before trying again.
        """

    def execution(self, name: str) -> ExecutionState:
        """One execution."""

    def executions(self, job: str) -> list[ExecutionState]:
        """The job's executions that Google still knows of, in any order.

        Those are the newest 1,000 and all of the last seven days:
        https://docs.cloud.google.com/run/docs/execute/jobs.
        """

    def tasks(self, execution: str) -> list[TaskState]:
        """All tasks of an execution, in no particular order."""

    def cancel(self, execution: str) -> None:
        """Stop an execution; one that has ended stays as it is."""


class GoogleCloudRun:
    """CloudRunApi at Google, or at the server that CLOUD_RUN_EMULATOR_HOST names.

    Over REST: no thread or connection of it is in the way of the processes that a flow starts.
    """

    def __init__(self, credentials: Credentials | None = None) -> None:
        self._credentials = credentials

    def image(self, job: str) -> str:
        with _errors(job):
            found = self._jobs.get_job(name=job, retry=_retry(), timeout=_CALL_SECONDS)
        return str(found.template.template.containers[0].image)

    def missing_permissions(self, job: str) -> list[str]:
        with _errors(job):
            answer = self._jobs.test_iam_permissions(
                {"resource": job, "permissions": list(_RUN_PERMISSIONS)},
                retry=_retry(),
                timeout=_CALL_SECONDS,
            )
        return [each for each in _RUN_PERMISSIONS if each not in answer.permissions]

    def run(self, job: str, *, wave_uri: str, tasks: int) -> str:
        from google.cloud import run_v2

        overrides = run_v2.RunJobRequest.Overrides(
            task_count=tasks,
            container_overrides=[run_v2.RunJobRequest.Overrides.ContainerOverride(args=[wave_uri])],
        )
        request = run_v2.RunJobRequest(name=job, overrides=overrides)
        with _errors(job):
            # Not tried again by itself: a second call would be a second execution.
            operation = self._jobs.run_job(request, retry=None, timeout=_CALL_SECONDS)
        return str(operation.metadata.name)

    def execution(self, name: str) -> ExecutionState:
        with _errors(name):
            found = self._executions.get_execution(name=name, retry=_retry(), timeout=_CALL_SECONDS)
        return _execution_state(found)

    def executions(self, job: str) -> list[ExecutionState]:
        request = {"parent": job, "page_size": 100}
        with _errors(job):
            pages = self._executions.list_executions(request, retry=_retry(), timeout=_CALL_SECONDS)
            return [_execution_state(each) for each in pages]

    def tasks(self, execution: str) -> list[TaskState]:
        request = {"parent": execution, "page_size": 1000}
        with _errors(execution):
            pages = self._tasks.list_tasks(request, retry=_retry(), timeout=_CALL_SECONDS)
            return [_task_state(each) for each in pages]

    def cancel(self, execution: str) -> None:
        from google.api_core.exceptions import BadRequest, Conflict

        try:
            with _errors(execution):
                self._executions.cancel_execution(
                    name=execution, retry=_retry(), timeout=_CALL_SECONDS
                )
        except CloudError as error:
            # It ended in this moment: FAILED_PRECONDITION.
            if not isinstance(error.__cause__, BadRequest | Conflict):
                raise

    @functools.cached_property
    def _jobs(self) -> run_v2.JobsClient:
        from google.cloud import run_v2

        with _errors("the Cloud Run Admin API"):
            return run_v2.JobsClient(**self._options())

    @functools.cached_property
    def _executions(self) -> run_v2.ExecutionsClient:
        from google.cloud import run_v2

        with _errors("the Cloud Run Admin API"):
            return run_v2.ExecutionsClient(**self._options())

    @functools.cached_property
    def _tasks(self) -> run_v2.TasksClient:
        from google.cloud import run_v2

        with _errors("the Cloud Run Admin API"):
            return run_v2.TasksClient(**self._options())

    def _options(self) -> dict[str, Any]:
        emulator = os.environ.get(EMULATOR_VARIABLE)
        if emulator is None:
            return {
                "transport": "rest",
                "credentials": self._credentials or container_credentials(),
            }
        from google.auth.credentials import AnonymousCredentials

        return {
            "transport": "rest",
            "credentials": AnonymousCredentials(),  # type: ignore[no-untyped-call]
            "client_options": {"api_endpoint": emulator},
        }


_CALL_SECONDS = 60.0
_RETRY_SECONDS = 300.0


def _retry() -> Any:  # noqa: ANN401 - google.api_core has no types
    """Backoff with jitter, for calls that can be repeated."""
    import requests
    from google.api_core import exceptions, retry

    of_the_call = retry.if_exception_type(
        exceptions.TooManyRequests,
        exceptions.InternalServerError,
        exceptions.BadGateway,
        exceptions.ServiceUnavailable,
        exceptions.GatewayTimeout,
        requests.ConnectionError,
        requests.Timeout,
    )
    return retry.Retry(
        predicate=lambda error: of_the_call(error) or may_pass(error),
        initial=0.5,
        maximum=30.0,
        timeout=_RETRY_SECONDS,
    )


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Turn what the google client raises into CloudError, with the remedy."""
    import requests
    from google.api_core import exceptions
    from google.auth import exceptions as auth

    try:
        yield
    except exceptions.ClientError as error:
        raise _refusal(name, error) from error
    except (exceptions.ServerError, exceptions.RetryError, requests.RequestException) as error:
        raise CloudError(f"{name}: no answer from Cloud Run: {error}", "unclear") from error
    except exceptions.GoogleAPICallError as error:
        raise CloudError(f"{name}: refused by Cloud Run: {error.message}", "refused") from error
    except auth.DefaultCredentialsError as error:
        raise CloudError(
            f"{name}: there are no Google credentials here: run `gcloud auth "
            "application-default login`",
            "refused",
        ) from error
    except auth.GoogleAuthError as error:
        remedy = refused_login(error)
        raise CloudError(
            f"{name}: Google's credentials failed: {one_line(error)}{remedy}",
            "refused" if remedy else "unclear",
        ) from error


def _refusal(name: str, error: ClientError) -> CloudError:
    from google.api_core import exceptions

    if isinstance(error, exceptions.TooManyRequests) or _OVER_QUOTA.search(error.message):
        words = " ".join(error.message.split())
        is_of_calls = _OF_CALLS.search(words) is not None
        return CloudError(
            f"{name}: Google's quota is used up: {words}", "quota" if is_of_calls else "room"
        )
    if isinstance(error, exceptions.Forbidden):
        # Google does not tell who has rights on single jobs that there is no such job.
        return CloudError(
            f"{name}: permission denied, or there is no such job: {error.message} Run `terraform "
            "apply`, which makes the render jobs and grants the orchestrator "
            f"roles/run.jobsExecutorWithOverrides and roles/run.viewer on them; {GRANTS_SPREAD}",
            "refused",
        )
    if isinstance(error, exceptions.NotFound):
        return CloudError(
            f"{name} does not exist: run `terraform apply`, and write the outputs file anew",
            "refused",
        )
    return CloudError(f"{name}: refused by Cloud Run: {error.message}", "refused")


def _execution_state(execution: run_v2.Execution) -> ExecutionState:
    containers = execution.template.containers
    return ExecutionState(
        name=execution.name,
        wave_uri=next(iter(containers[0].args), "") if containers else "",
        task_count=execution.task_count,
        running=execution.running_count,
        succeeded=execution.succeeded_count,
        failed=execution.failed_count,
        cancelled=execution.cancelled_count,
        retried=execution.retried_count,
        created=_seconds(execution.create_time) or 0.0,
        completed=_seconds(execution.completion_time),
        message=_condition(execution.conditions, "Completed"),
    )


def _task_state(task: run_v2.Task) -> TaskState:
    from google.cloud import run_v2

    completed = _seconds(task.completion_time)
    result = task.last_attempt_result
    reasons = {
        condition.execution_reason
        for condition in task.conditions
        if condition.type_ == "Completed"
    }
    cancelled = {
        run_v2.Condition.ExecutionReason.CANCELLED,
        run_v2.Condition.ExecutionReason.CANCELLING,
    }
    outcome: TaskOutcome
    if completed is None:
        outcome = "waiting" if _seconds(task.start_time) is None else "running"
    elif reasons & cancelled:
        outcome = "cancelled"
    else:
        states = {
            condition.state for condition in task.conditions if condition.type_ == "Completed"
        }
        succeeded = run_v2.Condition.State.CONDITION_SUCCEEDED in states
        outcome = "succeeded" if succeeded else "failed"
    return TaskState(
        index=task.index,
        outcome=outcome,
        exit_code=result.exit_code,
        term_signal=result.term_signal,
        message=result.status.message or _condition(task.conditions, "Completed"),
        started=_seconds(task.start_time),
        completed=completed,
    )


def _condition(conditions: Any, kind: str) -> str:  # noqa: ANN401 - a proto-plus list
    return next((str(each.message) for each in conditions if each.type_ == kind), "")


def _seconds(time: Any) -> float | None:  # noqa: ANN401 - proto-plus gives a datetime or None
    return float(time.timestamp()) if time else None
