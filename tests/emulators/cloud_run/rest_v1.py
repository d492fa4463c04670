"""The v1 (Knative) methods that ``gcloud run jobs`` calls, on the same jobs as v2's.

A region's methods are at its own host (``europe-west1-run.googleapis.com``); at a host without a
region, all of a project's regions are looked through.
"""

from __future__ import annotations

import re
from typing import Any

from tests.emulators.cloud_run.api_error import ApiError, invalid
from tests.emulators.cloud_run.discovery import Json, read_body
from tests.emulators.cloud_run.execution import Execution
from tests.emulators.cloud_run.knative import v1_execution, v1_job, v1_task, v2_job, v2_run
from tests.emulators.cloud_run.label_selector import selects
from tests.emulators.cloud_run.model import CloudRunModel
from tests.emulators.cloud_run.names import Location, short
from tests.emulators.cloud_run.paging import page_of
from tests.emulators.cloud_run.rest_routes import Call, Handler

_REGION = re.compile(r"([a-z]+(?:-[a-z]+)+\d+)-")
# Where calls to no region in particular are counted.
_ANYWHERE = "us-central1"
_UNSUPPORTED = ("fieldSelector", "includeUninitialized", "resourceVersion", "watch", "dryRun")
_MOST_A_PAGE = 100


def v1_handlers(model: CloudRunModel) -> dict[str, Handler]:
    """By the ids of the discovery document."""
    v1 = _V1(model)
    return {
        "run.namespaces.jobs.create": v1.create_job,
        "run.namespaces.jobs.replaceJob": v1.replace_job,
        "run.namespaces.jobs.get": lambda call: v1_job(model.get_job(v1.job(call))),
        "run.namespaces.jobs.list": v1.list_jobs,
        "run.namespaces.jobs.delete": v1.delete_job,
        "run.namespaces.jobs.run": v1.run_job,
        "run.namespaces.executions.get": lambda call: v1_execution(
            model.get_execution(v1.execution(call).name)
        ),
        "run.namespaces.executions.list": v1.list_executions,
        "run.namespaces.executions.cancel": v1.cancel_execution,
        "run.namespaces.executions.delete": v1.delete_execution,
        "run.namespaces.tasks.get": v1.get_task,
        "run.namespaces.tasks.list": v1.list_tasks,
    }


class _V1:
    """Handlers; they find v1's short names in the model."""

    def __init__(self, model: CloudRunModel) -> None:
        self._model = model

    def create_job(self, call: Call) -> Json:
        _refuse_unsupported(call)
        body = read_body(call.body, "Job", "v1")
        name = body.get("metadata", {}).get("name", "")
        location = self._one_region(call)
        self._model.create_job(location.name, name, v2_job(body), False)
        return self._shown_job(location, name)

    def replace_job(self, call: Call) -> Json:
        _refuse_unsupported(call)
        body = read_body(call.body, "Job", "v1")
        name = self.job(call)
        self._model.update_job(name, v2_job(body), False)
        return self._shown_job(self._one_region(call), short(name))

    def list_jobs(self, call: Call) -> Json:
        locations = self._counted("jobs.list", call)
        found = [
            v1_job(job.shown()) for location in locations for job in self._model.jobs_in(location)
        ]
        return _list("Job", found, call)

    def delete_job(self, call: Call) -> Json:
        self._model.delete_job(self.job(call))
        return _SUCCESS

    def run_job(self, call: Call) -> Json:
        body = v2_run(read_body(call.body, "RunJobRequest", "v1"))
        operation = self._model.run_job(self.job(call), body)
        return v1_execution(operation["metadata"])

    def list_executions(self, call: Call) -> Json:
        locations = self._counted("executions.list", call)
        found = [
            v1_execution(execution.shown())
            for location in locations
            for execution in self._model.executions_in(location)
        ]
        return _list("Execution", found, call)

    def cancel_execution(self, call: Call) -> Json:
        read_body(call.body, "CancelExecutionRequest", "v1")
        execution = self.execution(call)
        self._model.cancel_execution(execution.name, {})
        return v1_execution(execution.shown())

    def delete_execution(self, call: Call) -> Json:
        self._model.delete_execution(self.execution(call).name)
        return _SUCCESS

    def get_task(self, call: Call) -> Json:
        name = short(call.name)
        execution = self._find(call, name.rpartition("-task")[0], "TASK")
        return v1_task(self._model.get_task(f"{execution.name}/tasks/{name}"))

    def list_tasks(self, call: Call) -> Json:
        locations = self._counted("tasks.list", call)
        found = [
            v1_task(execution.shown_task(task))
            for location in locations
            for execution in self._model.executions_in(location)
            for task in execution.tasks
        ]
        return _list("Task", found, call)

    def job(self, call: Call) -> str:
        """The v2 name of the job that a call names."""
        return f"{self._one_region(call).name}/jobs/{short(call.name)}"

    def execution(self, call: Call) -> Execution:
        """The execution that a call names."""
        return self._find(call, short(call.name), "EXECUTION")

    def _find(self, call: Call, name: str, kind: str) -> Execution:
        location = self._one_region(call)
        for execution in self._model.executions_in(location):
            if short(execution.name) == name:
                return execution
        raise ApiError(
            "NOT_FOUND",
            f"Resource '{short(call.name)}' of kind '{kind}' in region '{location.region}' in "
            f"project '{location.project}' does not exist.",
        )

    def _shown_job(self, location: Location, name: str) -> Json:
        (job,) = (each for each in self._model.jobs_in(location) if short(each.name) == name)
        return v1_job(job.shown())

    def _locations(self, call: Call) -> list[Location]:
        project = call.name.split("/")[1]
        region = _REGION.match(call.host)
        return [Location(project, region[1])] if region else self._model.regions(project)

    def _one_region(self, call: Call) -> Location:
        locations = self._locations(call)
        if len(locations) != 1:
            raise invalid("name", f"{call.name}: call the host of its region, REGION-run.…")
        return locations[0]

    def _counted(self, method: str, call: Call) -> list[Location]:
        _refuse_unsupported(call)
        locations = self._locations(call)
        counted = locations[0] if locations else Location(call.name.split("/")[1], _ANYWHERE)
        self._model.called(method, counted.name)
        return locations


_SUCCESS: Json = {"status": "Success"}


def _refuse_unsupported(call: Call) -> None:
    for name in _UNSUPPORTED:
        if call.query.get(name):
            raise invalid(name, "Not supported by Cloud Run.")


def _list(kind: str, items: list[Json], call: Call) -> Json:
    selector = call.query.get("labelSelector", "")
    named: list[tuple[str, Any]] = [
        (item["metadata"]["selfLink"], item)
        for item in items
        if selects(selector, item["metadata"]["labels"])
    ]
    size, token = call.query.get("limit", 0), call.query.get("continue", "")
    page, following = page_of(named, f"{call.name}/{kind}", size, token, _MOST_A_PAGE)
    return {
        "apiVersion": "run.googleapis.com/v1",
        "kind": f"{kind}List",
        "metadata": {"continue": following} if following else {},
        "items": page,
    }
