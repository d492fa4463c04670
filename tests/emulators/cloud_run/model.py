"""The core of the stand-in: jobs, executions, tasks and operations, by the methods of the API.

REST, gRPC and the v1 form all call it, and so can a program in its own event loop, also one of
virtual time: no sockets, no threads, no time but the loop's. Requests and answers are the v2
API's JSON; every refusal is an ApiError.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from typing import Any
from uuid import uuid4

from tests.emulators.cloud_run import permissions
from tests.emulators.cloud_run.api_error import ApiError
from tests.emulators.cloud_run.billing import Bill
from tests.emulators.cloud_run.clock import Now, loop_now
from tests.emulators.cloud_run.containers import Containers
from tests.emulators.cloud_run.discovery import read_body
from tests.emulators.cloud_run.execution import Execution
from tests.emulators.cloud_run.job import Job
from tests.emulators.cloud_run.job_checks import checked_job
from tests.emulators.cloud_run.knobs import Knobs
from tests.emulators.cloud_run.names import (
    Location,
    check_job_id,
    location_of,
    not_found,
    parent,
    short,
)
from tests.emulators.cloud_run.operations import Operation
from tests.emulators.cloud_run.overrides import overridden
from tests.emulators.cloud_run.paging import page_of
from tests.emulators.cloud_run.quotas import CallRates, TaskSlots, rate_exceeded
from tests.emulators.cloud_run.task import Task

Json = dict[str, Any]

_JOB, _RUN = "GoogleCloudRunV2Job", "GoogleCloudRunV2RunJobRequest"
_CANCEL = "GoogleCloudRunV2CancelExecutionRequest"
# https://docs.cloud.google.com/run/docs/execute/jobs: "the most recent 1,000 executions of a job …
# along with any executions that occurred within the last seven days".
_KEPT_EXECUTIONS = 1_000
_KEPT_SECONDS = 7 * 24 * 3600.0
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_MOST_A_PAGE = {"jobs": 100, "executions": 100, "tasks": 1_000, "operations": 100}
_READS = ("get", "list", "wait", "testIamPermissions")


class CloudRunModel:
    """Cloud Run's jobs, in any project and region.

    now: Unix seconds, which must go on with the running loop's time.
    """

    def __init__(
        self, containers: Containers, knobs: Knobs | None = None, now: Now | None = None
    ) -> None:
        self.knobs = knobs or Knobs()
        self.calls: Counter[str] = Counter()
        self.bill = Bill()
        self._containers = containers
        self._now = now or loop_now(self.knobs.clock_skew_seconds)
        self._random = random.Random(self.knobs.seed)  # noqa: S311 - no secret
        self._rates = CallRates(self.knobs, self._now)
        self._slots: dict[Location, TaskSlots] = defaultdict(lambda: TaskSlots(self.knobs))
        self._jobs: dict[str, Job] = {}
        self._executions: dict[str, Execution] = {}
        self._operations: dict[str, Operation] = {}
        self._ordinals: Counter[Location] = Counter()
        # Also those that were deleted while they ran.
        self._unfinished: set[Execution] = set()

    def create_job(self, location: str, job_id: str, body: Json, validate_only: bool) -> Json:
        """Make a job; its operation ends when it is ready."""
        where = self.called("jobs.create", location)
        configuration = self._configuration(body)
        permissions.check_deployment(configuration)
        check_job_id(job_id)
        name = f"{location}/jobs/{job_id}"
        if name in self._jobs:
            raise ApiError("ALREADY_EXISTS", f"Resource '{job_id}' already exists.")
        if len(self._in(where, self._jobs)) >= self.knobs.jobs:
            raise ApiError("RESOURCE_EXHAUSTED", f"Maximum number of jobs, {self.knobs.jobs}.")
        job = Job(name, configuration, self._now(), updated=self._now())
        if not validate_only:
            self._jobs[name] = job
        return self._reconcile(job, validate_only)

    def update_job(
        self, name: str, body: Json, validate_only: bool, allow_missing: bool = False
    ) -> Json:
        """Replace a job's configuration."""
        self.called("jobs.patch", name)
        configuration = self._configuration(body)
        permissions.check_deployment(configuration)
        if name not in self._jobs and allow_missing:
            self.calls["jobs.patch"] -= 1
            return self.create_job(parent(name), short(name), body, validate_only)
        before = self._job(name)
        _check_etag(body.get("etag"), before.etag, name)
        if validate_only:
            return self._reconcile(Job(name, configuration, before.created), validate_only)
        if configuration != before.configuration:
            before.configuration = configuration
            before.generation += 1
            before.updated = self._now()
        return self._reconcile(before, validate_only)

    def delete_job(self, name: str, etag: str = "", validate_only: bool = False) -> Json:
        """Delete a job and its executions; those that run are cancelled."""
        self.called("jobs.delete", name)
        job = self._job(name)
        _check_etag(etag, job.etag, name)
        if not validate_only:
            del self._jobs[name]
            job.deleted = job.updated = self._now()
            job.generation += 1
            for execution in self._of(name):
                execution.cancel()
                del self._executions[execution.name]
        return self._reconcile(job, validate_only)

    def get_job(self, name: str) -> Json:
        """A job; NOT_FOUND."""
        self.called("jobs.get", name)
        return self._job(name).shown()

    def list_jobs(self, location: str, size: int = 0, token: str = "") -> Json:
        """A page of jobs, by name."""
        where = self.called("jobs.list", location)
        jobs = sorted(self._in(where, self._jobs))
        page = _page("jobs", [(name, self._jobs[name]) for name in jobs], location, size, token)
        return {**page, "jobs": [job.shown() for job in page["jobs"]]}

    def allowed_permissions(self, name: str, body: Json) -> Json:
        """Those asked for that the caller has: all but those that a knob denies."""
        self.called("jobs.testIamPermissions", name)
        asked = read_body(body, "GoogleIamV1TestIamPermissionsRequest").get("permissions", [])
        held = permissions.allowed(self.knobs, asked, name) if name in self._jobs else []
        return {"permissions": held} if held else {}

    def _configuration(self, body: Json) -> Json:
        configuration = checked_job(
            read_body(body, _JOB), most_tasks=self.knobs.tasks_per_execution
        )
        return {key: value for key, value in configuration.items() if key not in ("name", "etag")}

    def _reconcile(self, job: Job, validate_only: bool) -> Json:
        """An operation that has ended when the job's latest configuration is in force."""
        ended = asyncio.Event()
        operation = Operation(self._new_name(job.name), "Job", job.shown, ended)
        if validate_only:
            # Of a call that only validated, nothing can be got later.
            ended.set()
            return operation.view()

        def reconciled() -> None:
            job.observed_generation = job.generation
            ended.set()

        answer = self._kept(operation).view()
        # After the answer is made: an operation is never done at once.
        asyncio.get_running_loop().call_later(self.knobs.reconcile_seconds, reconciled)
        return answer

    def run_job(self, name: str, body: Json) -> Json:
        """Start an execution; its operation ends with it."""
        where = self.called("jobs.run", name)
        if self.knobs.use_up("refuse_runs"):
            raise rate_exceeded(where, "run")
        request = read_body(body, _RUN)
        job = self._job(name)
        _check_etag(request.get("etag"), job.etag, name)
        if request.get("overrides"):
            permissions.check(self.knobs, permissions.RUN_WITH_OVERRIDES, name)
        permissions.check_run(job.configuration)
        template, task_count = overridden(
            job.configuration["template"],
            request.get("overrides", {}),
            most_tasks=self.knobs.tasks_per_execution,
        )
        running = sum(location_of(each.name) == where for each in self._unfinished)
        if running >= self.knobs.running_executions:
            raise ApiError(
                "RESOURCE_EXHAUSTED",
                f"Maximum number of running executions ({self.knobs.running_executions}) in "
                f"region '{where.region}' is reached.",
            )
        if self.knobs.use_up("fail_runs"):
            raise _unavailable()
        execution = self._execution_of(job, template, task_count)
        slots = self._slots[where]
        if self.knobs.quota_refuses:
            all_fit = self.knobs.quota_refuses == "not all fit"
            asked = execution.at_once if all_fit else 1
            if not slots.have_room(execution.size, asked):
                raise slots.exhausted(execution.size, asked)
        if request.get("validateOnly"):
            return self._operation_on(execution).view()
        self._begin(job, execution, where)
        if self.knobs.use_up("lose_answers"):
            raise _unavailable()
        return self._kept(self._operation_on(execution)).view()

    def _execution_of(self, job: Job, template: Json, task_count: int) -> Execution:
        where = location_of(job.name)
        suffix = "".join(self._random.choices(_LETTERS, k=5))
        return Execution(
            f"{job.name}/executions/{short(job.name)}-{suffix}",
            template,
            task_count=task_count,
            parallelism=job.configuration["template"].get("parallelism", 0),
            ordinal=self._ordinals[where],
            knobs=self.knobs,
            containers=self._containers,
            slots=self._slots[where],
            bill=self.bill,
            now=self._now,
            on_end=self._ended,
        )

    def _begin(self, job: Job, execution: Execution, where: Location) -> None:
        self._ordinals[where] += 1
        self._executions[execution.name] = execution
        self._unfinished.add(execution)
        job.execution_count += 1
        job.latest = execution
        execution.start()

    def _ended(self, execution: Execution) -> None:
        self._unfinished.discard(execution)
        completed = [each for each in self._of(execution.job) if each.completed is not None]
        for old in completed[: max(0, len(completed) - _KEPT_EXECUTIONS)]:
            if old.completed is not None and self._now() - old.completed > _KEPT_SECONDS:
                del self._executions[old.name]

    # Executions and tasks

    def get_execution(self, name: str) -> Json:
        """An execution with its counts; NOT_FOUND."""
        self.called("executions.get", name)
        return self._execution(name).shown()

    def list_executions(self, job: str, size: int = 0, token: str = "") -> Json:
        """A page of a job's executions, or of all jobs' (``-``), in the order of the knob."""
        where = self.called("executions.list", job)
        if short(job) != "-":
            self._job(job)
        found = [
            (each.name, each)
            for each in reversed(self._executions.values())
            if _covers(job, each.job) and location_of(each.name) == where
        ]
        if self.knobs.list_order == "any":
            found.sort(key=lambda item: random.Random(item[0]).random())  # noqa: S311 - no secret
        page = _page("executions", found, job, size, token)
        return {**page, "executions": [each.shown() for each in page["executions"]]}

    def cancel_execution(self, name: str, body: Json) -> Json:
        """Stop an execution's tasks; FAILED_PRECONDITION if it has ended."""
        self.called("executions.cancel", name)
        request = read_body(body, _CANCEL)
        execution = self._execution(name)
        _check_etag(request.get("etag"), execution.etag, name)
        if execution.completed is not None:
            raise ApiError(
                "FAILED_PRECONDITION",
                f"Execution '{short(name)}' cannot be cancelled because it is not running.",
            )
        if request.get("validateOnly"):
            return self._operation_on(execution).view()
        execution.cancel()
        return self._kept(self._operation_on(execution)).view()

    def delete_execution(self, name: str, etag: str = "", validate_only: bool = False) -> Json:
        """Delete an execution; if it runs, it is cancelled."""
        self.called("executions.delete", name)
        execution = self._execution(name)
        _check_etag(etag, execution.etag, name)
        if validate_only:
            return self._operation_on(execution).view()
        execution.cancel()
        execution.deleted = self._now()
        del self._executions[name]
        return self._kept(self._operation_on(execution)).view()

    def get_task(self, name: str) -> Json:
        """A task; NOT_FOUND."""
        self.called("tasks.get", name)
        execution = self._executions.get(parent(name))
        for task in execution.tasks if execution else ():
            if execution and task.name == name:
                return execution.shown_task(task)
        raise not_found(name)

    def list_tasks(self, execution: str, size: int = 0, token: str = "") -> Json:
        """A page of the tasks of an execution, or of all executions (``-``), by index."""
        where = self.called("tasks.list", execution)
        if short(execution) != "-":
            self._execution(execution)
        found: list[tuple[str, tuple[Execution, Task]]] = [
            (task.name, (each, task))
            for each in self._executions.values()
            if location_of(each.name) == where and _covers(execution, each.name)
            for task in each.tasks
        ]
        page = _page("tasks", found, execution, size, token)
        return {**page, "tasks": [each.shown_task(task) for each, task in page["tasks"]]}

    def get_operation(self, name: str) -> Json:
        """What a call has come to."""
        self.called("operations.get", name)
        return self._operation(name).view()

    def list_operations(self, location: str, size: int = 0, token: str = "") -> Json:
        """A page of the operations of a location."""
        where = self.called("operations.list", location)
        found = [(name, self._operations[name]) for name in self._in(where, self._operations)]
        page = _page("operations", found, location, size, token)
        return {**page, "operations": [each.view() for each in page["operations"]]}

    def delete_operation(self, name: str) -> Json:
        """Forget an operation; what it does goes on."""
        self.called("operations.delete", name)
        self._operation(name)
        del self._operations[name]
        return {}

    async def wait_operation(self, name: str, seconds: float) -> Json:
        """An operation as it is when it has ended, or after so many seconds."""
        self.called("operations.wait", name)
        operation = self._operation(name)
        try:
            async with asyncio.timeout(seconds):
                await operation.ended.wait()
        except TimeoutError:
            pass  # the method's own way of saying: not yet
        return operation.view()

    def _operation_on(self, execution: Execution) -> Operation:
        return Operation(
            self._new_name(execution.name),
            "Execution",
            execution.shown,
            execution.ended,
            execution.failure,
        )

    def _kept(self, operation: Operation) -> Operation:
        self._operations[operation.name] = operation
        return operation

    def _new_name(self, resource: str) -> str:
        return f"{location_of(resource).name}/operations/{uuid4()}"

    # All of them

    def regions(self, project: str) -> list[Location]:
        """Where the project has or had jobs, by name."""
        known = {location_of(name) for name in (*self._jobs, *self._executions)}
        return sorted((each for each in known if each.project == project), key=lambda it: it.region)

    def jobs_in(self, where: Location) -> list[Job]:
        """All of them, by name."""
        return [self._jobs[name] for name in sorted(self._in(where, self._jobs))]

    def executions_in(self, where: Location) -> list[Execution]:
        """All of them, the newest first."""
        return [self._executions[name] for name in reversed(self._in(where, self._executions))]

    def knobs_changed(self) -> None:
        """Let tasks go on that a lower limit held back."""
        for slots in self._slots.values():
            slots.hand_out()

    async def close(self) -> None:
        """Stop all that runs, and wait until nothing of it is left."""
        await asyncio.gather(*(each.close() for each in list(self._unfinished)))

    def called(self, method: str, resource: str) -> Location:
        """Count a call; ApiError if a quota, a fault or a permission is in its way."""
        self.calls[method] += 1
        where = location_of(resource)
        verb = method.rpartition(".")[2]
        kind = "run" if verb == "run" else "read" if verb in _READS else "write"
        if self.knobs.use_up("fail_calls"):
            raise _unavailable()
        if self.knobs.use_up("refuse_calls"):
            raise rate_exceeded(where, kind)
        self._rates.count(where, kind)
        permissions.check_method(self.knobs, method, resource)
        return where

    def _job(self, name: str) -> Job:
        if name not in self._jobs:
            raise not_found(name)
        return self._jobs[name]

    def _execution(self, name: str) -> Execution:
        if name not in self._executions:
            raise not_found(name)
        return self._executions[name]

    def _operation(self, name: str) -> Operation:
        if name not in self._operations:
            raise not_found(name)
        return self._operations[name]

    def _of(self, job: str) -> list[Execution]:
        return [each for each in self._executions.values() if each.job == job]

    def _in(self, where: Location, names: dict[str, Any]) -> list[str]:
        return [name for name in names if name.startswith(f"{where.name}/")]


def _covers(pattern: str, name: str) -> bool:
    """Whether a name is meant by one in which ``-`` stands for any id."""
    pairs = zip(pattern.split("/"), name.split("/"), strict=True)
    return all(wanted in ("-", part) for wanted, part in pairs)


def _page(kind: str, items: list[tuple[str, Any]], of: str, size: int, token: str) -> Json:
    found, following = page_of(items, of, size, token, _MOST_A_PAGE[kind])
    page: Json = {kind: found}
    if following:
        page["nextPageToken"] = following
    return page


def _check_etag(given: str | None, current: str, name: str) -> None:
    if given and given != current:
        raise ApiError(
            "ABORTED",
            f"Conflict for resource '{short(name)}': version '{given}' was specified but current "
            f"version is '{current}'.",
        )


def _unavailable() -> ApiError:
    return ApiError("UNAVAILABLE", "The service is currently unavailable.")
