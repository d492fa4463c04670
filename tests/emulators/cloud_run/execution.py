"""One execution: it runs its tasks in containers, and says how far they are."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from tests.emulators.cloud_run.billing import Bill
from tests.emulators.cloud_run.clock import Now, duration, timestamp
from tests.emulators.cloud_run.conditions import condition
from tests.emulators.cloud_run.containers import ContainerEnd, Containers, ContainerSpec
from tests.emulators.cloud_run.job_checks import cpus, memory_mib, seconds
from tests.emulators.cloud_run.knobs import Knobs
from tests.emulators.cloud_run.names import location_of, parent, short
from tests.emulators.cloud_run.quotas import Size, TaskSlots
from tests.emulators.cloud_run.task import CANCELLED_MESSAGE, Task, TaskState

Json = dict[str, Any]

# Whoever calls the stand-in.
CALLER = "caller@example.com"
_DONE: frozenset[TaskState] = frozenset({"Succeeded", "Failed", "Cancelled", "Abandoned"})
# What an execution and a task show of the template that they were made of.
_OF_TEMPLATE = ("containers", "volumes", "maxRetries", "timeout", "serviceAccount")


class Execution:
    """An execution and its tasks; ``run()`` works until all of them have ended.

    template: the task template, overridden. ordinal: which execution of the region it is, so that
    faults are the same in each run with the same seed.
    """

    def __init__(
        self,
        name: str,
        template: Json,
        *,
        task_count: int,
        parallelism: int,
        ordinal: int,
        knobs: Knobs,
        containers: Containers,
        slots: TaskSlots,
        bill: Bill,
        now: Now,
        on_end: Callable[[Execution], None],
    ) -> None:
        self.name = name
        self.job = parent(name)
        self.created = now()
        self.started: float | None = None
        self.completed: float | None = None
        self.deleted: float | None = None
        self.ended = asyncio.Event()
        self.tasks = [
            Task(f"{name}/tasks/{short(name)}-task{index}", index, self.created)
            for index in range(task_count)
        ]
        self._template = template
        self._parallelism = min(parallelism or task_count, task_count)
        self._ordinal = ordinal
        self._knobs = knobs
        self._containers = containers
        self._slots = slots
        self._bill = bill
        self._now = now
        self._on_end = on_end
        self._uid = str(uuid4())
        self._generation = 1
        self._updated = self.created
        self._states: Counter[TaskState] = Counter({"Pending": task_count})
        self._retried = 0
        self._first_failure: Task | None = None
        self._cancelled = False
        self._begun = False
        self._working: asyncio.Task[None] | None = None

    @property
    def size(self) -> Size:
        """Of each of its tasks."""
        return Size(cpus(self._template), memory_mib(self._template) / 1024)

    @property
    def at_once(self) -> int:
        """How many of its tasks run at once, where there is room."""
        return self._parallelism

    def start(self) -> None:
        """Begin to work, in the running loop."""
        self._working = asyncio.get_running_loop().create_task(self._work())

    def cancel(self) -> None:
        """Stop what runs, start nothing more; it has ended when its containers have."""
        if not self._cancelled and self.completed is None:
            self._cancelled = True
            self._generation += 1
            self._updated = self._now()
            if self._begun and self._working is not None:
                self._working.cancel()

    async def close(self) -> None:
        """Stop it, and wait until nothing of it is left."""
        self.cancel()
        if self._working is not None:
            await asyncio.wait({self._working})

    async def _work(self) -> None:
        at_once = asyncio.Semaphore(self._parallelism)
        running: set[asyncio.Task[None]] = set()
        # A task of asyncio that is cancelled before its first step never gets to its end.
        self._begun = True
        try:
            for task in self.tasks if not self._cancelled else ():
                await at_once.acquire()
                await self._slots.acquire(self.size)
                runner = asyncio.get_running_loop().create_task(self._run(task))
                running.add(runner)

                def freed(runner: asyncio.Task[None]) -> None:
                    running.discard(runner)
                    at_once.release()
                    self._slots.release(self.size)

                runner.add_done_callback(freed)
            if running:
                await asyncio.wait(running)
        except asyncio.CancelledError:
            for runner in running:
                runner.cancel()
            if running:
                await asyncio.wait(running)
        finally:
            self._finish()

    async def _run(self, task: Task) -> None:
        task.scheduled = task.started = self._now()
        if self.started is None:
            self.started = task.started
        self._move(task, "Running")
        most = self._template["maxRetries"]
        try:
            while True:
                task.end = await self._run_attempts(task)
                if task.end.succeeded or task.retried >= most:
                    break
                if task.retried == 0:
                    self._retried += 1
                task.retried += 1
        except asyncio.CancelledError:
            self._move(task, "Cancelled")
            return
        if not task.end.succeeded and self._first_failure is None:
            self._first_failure = task
        self._move(task, "Succeeded" if task.end.succeeded else "Failed")

    async def _run_attempts(self, task: Task) -> ContainerEnd:
        """One attempt; two of the same, if the knobs say that it is delivered twice."""
        copies = 2 if self._knobs.run_tasks_twice else 1
        attempts = [asyncio.ensure_future(self._run_attempt(task)) for _ in range(copies)]
        try:
            return (await asyncio.gather(*attempts))[-1]
        except asyncio.CancelledError:
            await asyncio.wait(attempts)
            raise

    async def _run_attempt(self, task: Task) -> ContainerEnd:
        knobs, began = self._knobs, self._now()
        chance = random.Random(  # noqa: S311 - no secret
            f"{knobs.seed}/{self._ordinal}/{task.index}/{task.retried}"
        )
        loop, besides = asyncio.get_running_loop(), list[asyncio.Task[None]]()
        try:
            jitter = knobs.startup_jitter * chance.uniform(-1, 1)
            await asyncio.sleep(knobs.startup_seconds * (1 + jitter))
            spec = self._spec(task)
            if chance.random() < knobs.kill_probability:
                besides.append(loop.create_task(self._lose(spec)))
            if knobs.move_after_seconds:
                besides.append(loop.create_task(self._move_elsewhere(spec)))
            async with asyncio.timeout(seconds(self._template["timeout"])):
                return await self._containers.run(spec)
        except TimeoutError:
            return ContainerEnd(timed_out=True)
        finally:
            for each in besides:
                each.cancel()
            self._bill.add(
                self.name,
                self._now() - began,
                cpus=cpus(self._template),
                memory_mib=memory_mib(self._template),
            )

    async def _lose(self, spec: ContainerSpec) -> None:
        await asyncio.sleep(self._knobs.kill_after_seconds)
        self._containers.lose(spec)

    async def _move_elsewhere(self, spec: ContainerSpec) -> None:
        knobs = self._knobs
        await asyncio.sleep(knobs.move_after_seconds)
        await self._containers.move(
            spec, notice=knobs.move_notice_seconds, pause=knobs.move_pause_seconds
        )

    def _spec(self, task: Task) -> ContainerSpec:
        container = self._template["containers"][0]
        variables = [each for each in container.get("env", []) if "valueSource" not in each]
        return ContainerSpec(
            image=container["image"],
            command=tuple(container.get("command", [])),
            arguments=tuple(container.get("args", [])),
            environment={
                **{each["name"]: each.get("value", "") for each in variables},
                # https://cloud.google.com/run/docs/container-contract#jobs-env-vars
                "CLOUD_RUN_JOB": short(self.job),
                "CLOUD_RUN_EXECUTION": short(self.name),
                "CLOUD_RUN_TASK_INDEX": str(task.index),
                "CLOUD_RUN_TASK_ATTEMPT": str(task.retried),
                "CLOUD_RUN_TASK_COUNT": str(len(self.tasks)),
            },
            memory_mib=memory_mib(self._template),
            cpus=cpus(self._template),
            job=short(self.job),
            execution=short(self.name),
            index=task.index,
            count=len(self.tasks),
            attempt=task.retried,
            service_account=self._template.get("serviceAccount", ""),
            secrets={
                each["name"]: each["valueSource"]["secretKeyRef"]["secret"]
                for each in container.get("env", [])
                if "valueSource" in each
            },
        )

    def _move(self, task: Task, state: TaskState) -> None:
        self._states[task.state] -= 1
        self._states[state] += 1
        task.state = state
        self._updated = self._now()
        if state in _DONE:
            task.completed = self._updated

    def _finish(self) -> None:
        for task in self.tasks:
            if task.state == "Running":
                self._move(task, "Cancelled")
            elif task.state == "Pending":
                self._move(task, "Abandoned")
        self.completed = self._updated = self._now()
        self.ended.set()
        self._on_end(self)

    # What is shown

    @property
    def status(self) -> str:
        """One of the enum CompletionStatus."""
        if self.completed is None:
            return "EXECUTION_PENDING" if self.started is None else "EXECUTION_RUNNING"
        if self._cancelled:
            return "EXECUTION_CANCELLED"
        return "EXECUTION_SUCCEEDED" if self._first_failure is None else "EXECUTION_FAILED"

    @property
    def etag(self) -> str:
        """Changes when somebody changes the execution."""
        return f'"{self._uid[:8]}-{self._generation}"'

    def failure(self) -> tuple[str, str] | None:
        """The code and the words of the first task that failed; None if it did not fail."""
        if self.status != "EXECUTION_FAILED" or self._first_failure is None:
            return None
        task = self._first_failure
        code, words = task.failure()
        exit_code = task.end.exit_code if task.end is not None else 0
        return (
            code,
            f"Task {short(task.name)} failed with exit code: {exit_code} and message: {words}",
        )

    def reference(self) -> Json:
        """As the job shows its latest execution."""
        times = {
            "createTime": self.created,
            "completionTime": self.completed,
            "deleteTime": self.deleted,
        }
        return {
            "name": short(self.name),
            **{name: timestamp(time) for name, time in times.items() if time is not None},
            "completionStatus": self.status,
        }

    def shown(self) -> Json:
        """As the v2 API has it: zeros and what is unset are left out."""
        times = {
            "createTime": self.created,
            "startTime": self.started,
            "completionTime": self.completed,
            "updateTime": self._updated,
            "deleteTime": self.deleted,
        }
        states = self._states
        shown: Json = {
            "name": self.name,
            "uid": self._uid,
            "generation": str(self._generation),
            "observedGeneration": str(self._generation if self.completed else 1),
            **{name: timestamp(time) for name, time in times.items() if time is not None},
            "creator": CALLER,
            "launchStage": "GA",
            "job": short(self.job),
            "parallelism": self._parallelism,
            "taskCount": len(self.tasks),
            "template": self._template,
            "reconciling": self.completed is None,
            "conditions": self._conditions(),
            "runningCount": states["Running"],
            "succeededCount": states["Succeeded"],
            "failedCount": states["Failed"],
            "cancelledCount": states["Cancelled"] + states["Abandoned"],
            "retriedCount": self._retried,
            "logUri": self.log_uri,
            "etag": self.etag,
        }
        return {name: value for name, value in shown.items() if value not in (0, False)}

    def shown_task(self, task: Task) -> Json:
        """One of its tasks as the v2 API has it."""
        names = (*_OF_TEMPLATE, "executionEnvironment")
        return task.shown(
            job=short(self.job),
            execution=short(self.name),
            template={name: self._template[name] for name in names if name in self._template},
            log_uri=self.log_uri,
        )

    @property
    def log_uri(self) -> str:
        """Of the console."""
        location = location_of(self.name)
        return (
            "https://console.cloud.google.com/run/jobs/executions/details/"
            f"{location.region}/{short(self.name)}/tasks?project={location.project}"
        )

    def _conditions(self) -> list[Json]:
        conditions = [
            self._completed_condition(),
            condition(
                "ResourcesAvailable",
                "SUCCEEDED",
                "Provisioned imported containers.",
                at=self.created,
            ),
        ]
        if self.started is None:
            words = "Waiting for execution to start."
            conditions.append(condition("Started", "RECONCILING", words, at=self.created))
        else:
            words = f"Started deployed execution in {duration(self.started - self.created)}."
            conditions.append(condition("Started", "SUCCEEDED", words, at=self.started))
        words = f"Imported container image in {duration(0)}."
        return [*conditions, condition("ContainerReady", "SUCCEEDED", words, at=self.created)]

    def _completed_condition(self) -> Json:
        at = self.completed or self._updated
        if self.completed is None:
            if self._cancelled:
                words = "Waiting for execution to be cancelled."
                return condition("Completed", "RECONCILING", words, at=at, reason="CANCELLING")
            return condition(
                "Completed", "RECONCILING", "Waiting for execution to complete.", at=at
            )
        if self._cancelled:
            return condition("Completed", "FAILED", CANCELLED_MESSAGE, at=at, reason="CANCELLED")
        failure = self.failure()
        if failure is not None:
            reason = "NON_ZERO_EXIT_CODE"
            return condition("Completed", "FAILED", failure[1], at=at, reason=reason)
        words = f"Execution completed successfully in {duration(at - self.created)}."
        return condition("Completed", "SUCCEEDED", words, at=at)
