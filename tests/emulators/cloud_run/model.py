"""The stand-in's state: jobs, executions and tasks as the Admin API's JSON, and what runs them.

REST and gRPC both call it; every refusal is an ApiError. One event loop, no threads.
"""

from __future__ import annotations

import asyncio
import copy
import random
import re
import secrets
import time
import uuid
from collections import Counter, deque
from datetime import UTC, datetime
from typing import Any

from tests.emulators.cloud_run.api_error import ApiError
from tests.emulators.cloud_run.containers import ContainerEnd, Containers, ContainerSpec
from tests.emulators.cloud_run.discovery import check_body, clear_output_only
from tests.emulators.cloud_run.knobs import Knobs

Json = dict[str, Any]

_JOB_ID = re.compile(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?")
_MEMORY = re.compile(r"(\d+)(Mi|Gi|M|G)")
_MIB = {"Mi": 1, "Gi": 1024, "M": 1e6 / 2**20, "G": 1e9 / 2**20}
# What so much memory needs at least in CPUs, and what is allowed at most:
# https://cloud.google.com/run/docs/configuring/jobs/memory-limits.
_LEAST_CPU_ABOVE_MIB = {4096: 2, 8192: 4, 16384: 6, 24576: 8}
_MOST_MIB = 32768
_MOST_TIMEOUT_SECONDS = 168 * 3600
_MOST_RETRIES = 10


class CloudRunModel:
    """One project's Cloud Run jobs in any region."""

    def __init__(self, containers: Containers, knobs: Knobs | None = None) -> None:
        self._containers = containers
        self.knobs = knobs or Knobs()
        self.calls: Counter[str] = Counter()
        self._random = random.Random(self.knobs.seed)  # noqa: S311 - no secret
        self._jobs: dict[str, Json] = {}
        self._executions: dict[str, Json] = {}
        self._tasks: dict[str, list[Json]] = {}
        self._operations: dict[str, tuple[str, str]] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._run_calls: deque[float] = deque()
        self._busy_tasks = 0
        self._slot_freed = asyncio.Condition()

    # Jobs

    def create_job(self, parent: str, job_id: str, body: Json, validate_only: bool) -> Json:
        """Make a job; the answer is a finished operation."""
        self.calls["jobs.create"] += 1
        if not _JOB_ID.fullmatch(job_id):
            raise ApiError(
                "INVALID_ARGUMENT",
                f"Invalid job id {job_id!r}: lower-case letters, digits and '-', at most 49",
            )
        name = f"{parent}/jobs/{job_id}"
        if name in self._jobs:
            raise ApiError("ALREADY_EXISTS", f"Resource '{job_id}' already exists.")
        job = self._checked_job(name, body)
        if not validate_only:
            self._jobs[name] = job
        return self._done_operation(name, job)

    def update_job(self, name: str, body: Json, validate_only: bool) -> Json:
        """Replace a job."""
        self.calls["jobs.patch"] += 1
        before = self.get_job(name)
        job = self._checked_job(name, body)
        job["createTime"] = before["createTime"]
        job["generation"] = str(int(before["generation"]) + 1)
        if not validate_only:
            self._jobs[name] = job
        return self._done_operation(name, job)

    def delete_job(self, name: str) -> Json:
        """Delete a job that has no running execution."""
        self.calls["jobs.delete"] += 1
        job = self.get_job(name)
        if any("completionTime" not in each for each in self._executions_of(name)):
            raise ApiError("FAILED_PRECONDITION", f"Job {name} has running executions.")
        del self._jobs[name]
        for execution in [each["name"] for each in self._executions_of(name)]:
            del self._executions[execution], self._tasks[execution]
        return self._done_operation(name, job)

    def get_job(self, name: str) -> Json:
        """A job; NOT_FOUND."""
        self.calls["jobs.get"] += 1
        if name not in self._jobs:
            raise ApiError("NOT_FOUND", f"Resource '{name.rpartition('/')[2]}' was not found.")
        return self._jobs[name]

    def list_jobs(self, parent: str, size: int, token: str) -> Json:
        """A page of jobs."""
        self.calls["jobs.list"] += 1
        jobs = [job for name, job in self._jobs.items() if name.startswith(f"{parent}/jobs/")]
        return _page("jobs", jobs, size, token, most=100)

    def allowed_permissions(self, name: str, body: Json) -> Json:
        """Those asked for: nobody is refused here."""
        self.calls["jobs.testIamPermissions"] += 1
        check_body(body, "GoogleIamV1TestIamPermissionsRequest")
        self.get_job(name)
        return {"permissions": body.get("permissions", [])}

    def _checked_job(self, name: str, body: Json) -> Json:
        check_body(body, "GoogleCloudRunV2Job")
        body = clear_output_only(copy.deepcopy(body), "GoogleCloudRunV2Job")
        template = body.get("template", {}).get("template")
        if not template or not template.get("containers"):
            raise ApiError(
                "INVALID_ARGUMENT",
                "Violation in CreateJobRequest.job.template.template.containers: needs a container",
            )
        for container in template["containers"]:
            if not container.get("image"):
                raise ApiError(
                    "INVALID_ARGUMENT",
                    "Violation in CreateJobRequest.job.template.template.containers[0].image: "
                    "required",
                )
        _memory_mib(template)
        retries = template.get("maxRetries", 3)
        if not 0 <= retries <= _MOST_RETRIES:
            raise ApiError("INVALID_ARGUMENT", f"maxRetries {retries}: 0 to {_MOST_RETRIES}")
        timeout = _seconds(template.get("timeout", "600s"))
        if not 0 < timeout <= _MOST_TIMEOUT_SECONDS:
            raise ApiError("INVALID_ARGUMENT", f"timeout {timeout:g}s: above 0, at most 168 h")
        template.setdefault("maxRetries", retries)
        template.setdefault("timeout", "600s")
        body["template"].setdefault("taskCount", 1)
        self._check_task_count(body["template"]["taskCount"])
        now = _now()
        return {
            **body,
            "name": name,
            "uid": str(uuid.uuid4()),
            "generation": "1",
            "observedGeneration": "1",
            "createTime": now,
            "updateTime": now,
            "etag": _etag(),
            "executionCount": 0,
            "terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"},
            "conditions": [{"type": "Ready", "state": "CONDITION_SUCCEEDED"}],
        }

    def _check_task_count(self, count: int) -> None:
        most = self.knobs.tasks_per_execution
        if not 1 <= count <= most:
            raise ApiError("INVALID_ARGUMENT", f"task_count {count}: 1 to {most}")

    # Running

    def run_job(self, name: str, body: Json) -> Json:
        """Start an execution; the answer is an operation that ends with it."""
        self.calls["jobs.run"] += 1
        check_body(body, "GoogleCloudRunV2RunJobRequest")
        job = self.get_job(name)
        self._check_quota()
        if self._used_up("fail_runs"):
            raise ApiError("UNAVAILABLE", "The service is currently unavailable.")
        template, task_count = self._overridden(job, body.get("overrides", {}))
        execution = self._start(job, template, task_count)
        if self._used_up("lose_answers"):
            raise ApiError("UNAVAILABLE", "The service is currently unavailable.")
        return self._operation(self._new_operation(name, execution["name"]))

    def _check_quota(self) -> None:
        now = time.monotonic()
        while self._run_calls and self._run_calls[0] <= now - 60:
            self._run_calls.popleft()
        running = sum("completionTime" not in each for each in self._executions.values())
        if self._used_up("refuse_runs") or len(self._run_calls) >= self.knobs.run_calls_per_minute:
            raise ApiError(
                "RESOURCE_EXHAUSTED",
                "Quota exceeded for quota metric 'Run job requests' and limit 'Run job requests "
                "per minute per region' of service 'run.googleapis.com'.",
            )
        if running >= self.knobs.running_executions:
            raise ApiError("RESOURCE_EXHAUSTED", "Maximum number of running executions exceeded.")
        self._run_calls.append(now)

    def _used_up(self, knob: str) -> bool:
        """Whether a fault was still to be delivered; it is now."""
        left = getattr(self.knobs, knob)
        setattr(self.knobs, knob, max(0, left - 1))
        return left > 0

    def _overridden(self, job: Json, overrides: Json) -> tuple[Json, int]:
        template = copy.deepcopy(job["template"]["template"])
        containers = template["containers"]
        for override in overrides.get("containerOverrides", []):
            named = [each for each in containers if each.get("name") == override.get("name")]
            if override.get("name") and not named:
                raise ApiError("INVALID_ARGUMENT", f"no container named {override['name']!r}")
            container = (named or containers)[0]
            if override.get("clearArgs"):
                container["args"] = []
            if override.get("args"):
                container["args"] = list(override["args"])
            changed = {each["name"] for each in override.get("env", [])}
            kept = [each for each in container.get("env", []) if each["name"] not in changed]
            container["env"] = [*kept, *override.get("env", [])]
        if "timeout" in overrides:
            template["timeout"] = overrides["timeout"]
        task_count = overrides.get("taskCount") or job["template"]["taskCount"]
        self._check_task_count(task_count)
        return template, task_count

    def _start(self, job: Json, template: Json, task_count: int) -> Json:
        short = f"{job['name'].rpartition('/')[2]}-{secrets.token_hex(3)[:5]}"
        name = f"{job['name']}/executions/{short}"
        now = _now()
        execution: Json = {
            "name": name,
            "uid": str(uuid.uuid4()),
            "generation": "1",
            "createTime": now,
            "startTime": now,
            "updateTime": now,
            "job": job["name"].rpartition("/")[2],
            "parallelism": job["template"].get("parallelism", 0),
            "taskCount": task_count,
            "template": template,
            "reconciling": True,
            "conditions": [{"type": "Completed", "state": "CONDITION_RECONCILING"}],
            "observedGeneration": "1",
            "logUri": f"https://console.cloud.google.com/run/jobs/executions/details/{short}",
            "etag": _etag(),
        }
        self._executions[name] = execution
        self._tasks[name] = [
            {
                "name": f"{name}/tasks/{short}-task{index}",
                "uid": str(uuid.uuid4()),
                "generation": "1",
                "createTime": now,
                "updateTime": now,
                "job": execution["job"],
                "execution": short,
                "containers": template["containers"],
                "maxRetries": template["maxRetries"],
                "timeout": template["timeout"],
                "index": index,
                "reconciling": True,
                "conditions": [{"type": "Completed", "state": "CONDITION_PENDING"}],
            }
            for index in range(task_count)
        ]
        job["executionCount"] += 1
        job["latestCreatedExecution"] = {"name": short, "createTime": now}
        self._working[name] = asyncio.get_running_loop().create_task(self._work(execution))
        return execution

    async def _work(self, execution: Json) -> None:
        at_once = asyncio.Semaphore(execution["parallelism"] or execution["taskCount"])
        try:
            async with asyncio.TaskGroup() as group:
                for task in self._tasks[execution["name"]]:
                    group.create_task(self._run_task(execution, task, at_once))
        finally:
            self._finish(execution)

    async def _run_task(self, execution: Json, task: Json, at_once: asyncio.Semaphore) -> None:
        try:
            async with at_once, _Slot(self):
                task["startTime"] = _now()
                _set(task, "CONDITION_RECONCILING")
                attempt = 0
                while True:
                    end = await self._run_attempt(execution, task, attempt)
                    task["lastAttemptResult"] = _attempt_result(end)
                    if end.succeeded or attempt >= task["maxRetries"]:
                        break
                    attempt += 1
                    task["retried"] = attempt
                if end.succeeded:
                    _set(task, "CONDITION_SUCCEEDED")
                else:
                    reason = "NON_ZERO_EXIT_CODE"
                    _set(task, "CONDITION_FAILED", end.message, executionReason=reason)
        except asyncio.CancelledError:
            if execution.get("cancelling"):
                _set(task, "CONDITION_FAILED", "Cancelled.", executionReason="CANCELLED")
            raise
        finally:
            task["completionTime"] = _now()
            task["reconciling"] = False

    async def _run_attempt(self, execution: Json, task: Json, attempt: int) -> ContainerEnd:
        await asyncio.sleep(self.knobs.startup_seconds)
        container = task["containers"][0]
        spec = ContainerSpec(
            image=container["image"],
            arguments=tuple(container.get("args", [])),
            environment={
                **{each["name"]: each.get("value", "") for each in container.get("env", [])},
                "CLOUD_RUN_JOB": execution["job"],
                "CLOUD_RUN_EXECUTION": execution["name"].rpartition("/")[2],
                "CLOUD_RUN_TASK_INDEX": str(task["index"]),
                "CLOUD_RUN_TASK_ATTEMPT": str(attempt),
                "CLOUD_RUN_TASK_COUNT": str(execution["taskCount"]),
            },
            memory_mib=_memory_mib(execution["template"]),
        )
        copies = 2 if self.knobs.run_tasks_twice else 1
        running = [asyncio.ensure_future(self._containers.run(spec)) for _ in range(copies)]
        losing = asyncio.ensure_future(self._lose(spec))
        try:
            ends = await asyncio.wait_for(asyncio.gather(*running), _seconds(task["timeout"]))
        except TimeoutError:
            return ContainerEnd(
                term_signal=15,
                message="The task attempt was terminated: it reached its timeout of "
                f"{task['timeout']}.",
            )
        finally:
            losing.cancel()
        return ends[-1]

    async def _lose(self, spec: ContainerSpec) -> None:
        if self._random.random() < self.knobs.kill_probability:
            await asyncio.sleep(self.knobs.kill_after_seconds)
            self._containers.kill_some(spec)

    def _finish(self, execution: Json) -> None:
        tasks = self._tasks[execution["name"]]
        execution["completionTime"] = execution["updateTime"] = _now()
        execution["reconciling"] = False
        for task in tasks:
            # A cancelled task that never started has no end of its own.
            task.setdefault("completionTime", execution["completionTime"])
            if task["conditions"][0]["state"] in ("CONDITION_PENDING", "CONDITION_RECONCILING"):
                _set(task, "CONDITION_FAILED", "Cancelled.", executionReason="CANCELLED")
        failed = sum(_state(task) == "CONDITION_FAILED" for task in tasks)
        if execution.pop("cancelling", False):
            _set(execution, "CONDITION_FAILED", "Cancelled by user.", executionReason="CANCELLED")
        elif failed:
            _set(
                execution,
                "CONDITION_FAILED",
                f"{failed} of {len(tasks)} tasks failed.",
                executionReason="NON_ZERO_EXIT_CODE",
            )
        else:
            _set(execution, "CONDITION_SUCCEEDED")

    async def close(self) -> None:
        """Stop all that runs."""
        for working in self._working.values():
            working.cancel()
        await asyncio.gather(*self._working.values(), return_exceptions=True)

    # Executions, tasks, operations

    def get_execution(self, name: str) -> Json:
        """An execution with its counts; NOT_FOUND."""
        self.calls["executions.get"] += 1
        return self._shown_execution(self._execution(name))

    def list_executions(self, parent: str, size: int, token: str) -> Json:
        """A page of a job's executions, the newest first."""
        self.calls["executions.list"] += 1
        shown = [self._shown_execution(each) for each in reversed(self._executions_of(parent))]
        return _page("executions", shown, size, token, most=100)

    def cancel_execution(self, name: str, body: Json) -> Json:
        """Stop an execution's tasks; FAILED_PRECONDITION if it has ended."""
        self.calls["executions.cancel"] += 1
        check_body(body, "GoogleCloudRunV2CancelExecutionRequest")
        execution = self._execution(name)
        if "completionTime" in execution:
            raise ApiError("FAILED_PRECONDITION", f"Execution {name} has already completed.")
        execution["cancelling"] = True
        self._working[name].cancel()
        job = name.rpartition("/executions/")[0]
        return self._operation(self._new_operation(job, name))

    def delete_execution(self, name: str) -> Json:
        """Forget an execution."""
        self.calls["executions.delete"] += 1
        execution = self._shown_execution(self._execution(name))
        self._working[name].cancel()
        del self._executions[name]
        return self._done_operation(name.rpartition("/executions/")[0], execution)

    def get_task(self, name: str) -> Json:
        """A task; NOT_FOUND."""
        self.calls["tasks.get"] += 1
        for task in self._tasks.get(name.rpartition("/tasks/")[0], []):
            if task["name"] == name:
                return _without_defaults(task)
        raise ApiError("NOT_FOUND", f"Task {name} was not found.")

    def list_tasks(self, parent: str, size: int, token: str) -> Json:
        """A page of an execution's tasks."""
        self.calls["tasks.list"] += 1
        self._execution(parent)
        shown = [_without_defaults(task) for task in self._tasks[parent]]
        return _page("tasks", shown, size, token, most=1000)

    def get_operation(self, name: str) -> Json:
        """What a run or cancel has come to."""
        self.calls["operations.get"] += 1
        if name not in self._operations:
            raise ApiError("NOT_FOUND", f"Operation {name} was not found.")
        return self._operation(name)

    async def wait_operation(self, name: str, seconds: float) -> Json:
        """The same, after waiting for its end."""
        self.get_operation(name)
        working = self._working.get(self._operations[name][1])
        if working is not None:
            await asyncio.wait({working}, timeout=seconds)
        return self._operation(name)

    def billed_seconds(self) -> float:
        """Of all tasks that started, each at least a minute."""
        return sum(
            max(60.0, _time(task.get("completionTime")) - _time(task["startTime"]))
            for tasks in self._tasks.values()
            for task in tasks
            if "startTime" in task
        )

    def _execution(self, name: str) -> Json:
        if name not in self._executions:
            raise ApiError("NOT_FOUND", f"Execution {name} was not found.")
        return self._executions[name]

    def _executions_of(self, job: str) -> list[Json]:
        return [
            each for name, each in self._executions.items() if name.startswith(f"{job}/executions/")
        ]

    def _shown_execution(self, execution: Json) -> Json:
        tasks = self._tasks[execution["name"]]
        cancelled = sum(_is_cancelled(task) for task in tasks)
        running = [t for t in tasks if "startTime" in t and "completionTime" not in t]
        shown = {
            **{key: value for key, value in execution.items() if key != "cancelling"},
            "runningCount": len(running),
            "succeededCount": sum(_state(task) == "CONDITION_SUCCEEDED" for task in tasks),
            "failedCount": sum(_state(task) == "CONDITION_FAILED" for task in tasks) - cancelled,
            "cancelledCount": cancelled,
            "retriedCount": sum(task.get("retried", 0) for task in tasks),
        }
        return _without_defaults(shown)

    def _new_operation(self, job: str, execution: str) -> str:
        name = f"{job.rpartition('/jobs/')[0]}/operations/{uuid.uuid4()}"
        self._operations[name] = (job, execution)
        return name

    def _operation(self, name: str) -> Json:
        execution = self._shown_execution(self._execution(self._operations[name][1]))
        typed = {"@type": "type.googleapis.com/google.cloud.run.v2.Execution", **execution}
        operation: Json = {"name": name, "metadata": typed}
        if "completionTime" in execution:
            operation["done"] = True
            if _state(execution) == "CONDITION_SUCCEEDED":
                operation["response"] = typed
            else:
                message = execution["conditions"][0].get("message", "")
                operation["error"] = {"code": 10, "message": message}
        return operation

    def _done_operation(self, name: str, resource: Json) -> Json:
        kind = "Execution" if "/executions/" in resource["name"] else "Job"
        typed = {"@type": f"type.googleapis.com/google.cloud.run.v2.{kind}", **resource}
        parent = name.rpartition("/jobs/")[0]
        operation = f"{parent}/operations/{uuid.uuid4()}"
        return {"name": operation, "metadata": typed, "done": True, "response": typed}


class _Slot:
    """One of the tasks that can run at once in the region; the knob may change meanwhile."""

    def __init__(self, model: CloudRunModel) -> None:
        self._model = model

    async def __aenter__(self) -> None:
        model = self._model
        async with model._slot_freed:
            await model._slot_freed.wait_for(lambda: model._busy_tasks < model.knobs.parallel_tasks)
            model._busy_tasks += 1

    async def __aexit__(self, *exception: object) -> None:
        model = self._model
        model._busy_tasks -= 1
        async with model._slot_freed:
            model._slot_freed.notify()


def _attempt_result(end: ContainerEnd) -> Json:
    result: Json = {"status": {"code": 0 if end.succeeded else 10, "message": end.message}}
    if end.exit_code:
        result["exitCode"] = end.exit_code
    if end.term_signal:
        result["termSignal"] = end.term_signal
    return result


def _set(resource: Json, state: str, message: str = "", **more: str) -> None:
    condition = {"type": "Completed", "state": state, "lastTransitionTime": _now(), **more}
    resource["conditions"] = [{**condition, **({"message": message} if message else {})}]
    resource["updateTime"] = _now()


def _state(resource: Json) -> str:
    return str(resource["conditions"][0]["state"])


def _is_cancelled(task: Json) -> bool:
    return task["conditions"][0].get("executionReason") == "CANCELLED"


def _without_defaults(resource: Json) -> Json:
    """Proto3's JSON leaves out zeros."""
    return {key: value for key, value in resource.items() if value not in (0, "", False)}


def _page(name: str, items: list[Json], size: int, token: str, most: int) -> Json:
    if size < 0 or (token and not token.isdecimal()):
        raise ApiError("INVALID_ARGUMENT", "Invalid page size or page token.")
    start = int(token or 0)
    end = start + (min(size, most) or most)
    page: Json = {name: items[start:end]}
    if end < len(items):
        page["nextPageToken"] = str(end)
    return page


def _memory_mib(template: Json) -> int:
    container = template["containers"][0]
    limits = container.get("resources", {}).get("limits", {})
    memory = limits.get("memory", "512Mi")
    match = _MEMORY.fullmatch(memory)
    if match is None:
        raise ApiError("INVALID_ARGUMENT", f"Invalid memory limit {memory!r}: such as 512Mi or 2Gi")
    mib = int(match[1]) * _MIB[match[2]]
    cpu = _cpus(limits.get("cpu", "1"))
    if mib > _MOST_MIB:
        raise ApiError("INVALID_ARGUMENT", f"Memory limit {memory}: at most 32Gi")
    for above, least in _LEAST_CPU_ABOVE_MIB.items():
        if mib > above and cpu < least:
            raise ApiError("INVALID_ARGUMENT", f"Memory limit {memory} needs at least {least} CPUs")
    return int(mib)


def _cpus(text: str) -> float:
    number = text.removesuffix("m")
    if not number.replace(".", "", 1).isdecimal():
        raise ApiError("INVALID_ARGUMENT", f"Invalid CPU limit {text!r}: such as 1 or 2000m")
    cpus = float(number) / (1000 if text.endswith("m") else 1)
    if cpus not in (1, 2, 4, 6, 8):
        raise ApiError("INVALID_ARGUMENT", f"CPU limit {text} of a job: 1, 2, 4, 6 or 8")
    return cpus


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _time(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else time.time()


def _etag() -> str:
    return f'"{secrets.token_urlsafe(12)}"'
