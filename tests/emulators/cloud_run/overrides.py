"""Overrides of a run: tasks, timeout, and arguments and variables of containers; nothing else."""

from __future__ import annotations

import copy
from typing import Any

from tests.emulators.cloud_run.api_error import ApiError, invalid
from tests.emulators.cloud_run.job_checks import (
    check_arguments,
    check_task_count,
    check_timeout,
    seconds,
)

Json = dict[str, Any]


def overridden(template: Json, overrides: Json, *, most_tasks: int) -> tuple[Json, int]:
    """The task template and the number of tasks of an execution.

    template: of the job's executions. overrides: as discovery.read_body gives them. Arguments
    replace the job's, variables are merged with them.
    """
    task = copy.deepcopy(template["template"])
    if overrides.get("delayExecution"):
        raise ApiError("UNIMPLEMENTED", "overrides.delayExecution: the stand-in starts at once")
    for index, override in enumerate(overrides.get("containerOverrides", [])):
        field = f"overrides.containerOverrides[{index}]"
        container = _container(task["containers"], override.get("name", ""), field)
        if override.get("clearArgs"):
            if override.get("args"):
                raise invalid(f"{field}.clearArgs", "args and clearArgs cannot both be set")
            container.pop("args", None)
        if override.get("args"):
            container["args"] = list(override["args"])
        if override.get("env"):
            check_arguments(override, field)
            variables = {each["name"]: each for each in container.get("env", [])}
            variables |= {each["name"]: each for each in override["env"]}
            container["env"] = list(variables.values())
        check_arguments(container, field)
    if seconds(overrides.get("timeout", "0s")) != 0:
        check_timeout(overrides["timeout"], "overrides.timeout")
        task["timeout"] = overrides["timeout"]
    if overrides.get("taskCount", 0) < 0:
        raise invalid("overrides.taskCount", "must not be negative")
    count = overrides.get("taskCount") or template["taskCount"]
    check_task_count(count, "overrides.taskCount", most_tasks)
    return task, count


def _container(containers: list[Json], name: str, field: str) -> Json:
    for container in containers:
        if name and container.get("name") == name:
            return container
    if not name and len(containers) == 1:
        return containers[0]
    raise invalid(f"{field}.name", f"'{name}' is the name of no container of the job")
