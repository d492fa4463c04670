"""Names of resources, as the Admin API's v2 writes them, and what NOT_FOUND says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.emulators.cloud_run.api_error import ApiError, invalid

# https://cloud.google.com/resource-manager/docs/creating-managing-projects, and its number.
_PROJECT = re.compile(r"([a-z][a-z0-9.:-]{4,61}[a-z0-9]|\d+)")
_LOCATION = re.compile(r"[a-z]+(-[a-z]+)+\d+")
# "must be unique within Location", begin with a letter, end with no hyphen, less than 50 long:
# the console's words, and CreateJobRequest.job_id.
_JOB_ID = re.compile(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?")
_KINDS = {"jobs": "JOB", "executions": "EXECUTION", "tasks": "TASK", "operations": "OPERATION"}


@dataclass(frozen=True)
class Location:
    """Where quotas count: a project's region."""

    project: str
    region: str

    @property
    def name(self) -> str:
        """``projects/P/locations/R``."""
        return f"projects/{self.project}/locations/{self.region}"


def location_of(name: str) -> Location:
    """The location of any resource; INVALID_ARGUMENT if it cannot be one."""
    match name.split("/"):
        case ["projects", project, "locations", region, *_] if _PROJECT.fullmatch(
            project
        ) and _LOCATION.fullmatch(region):
            return Location(project, region)
    raise invalid("name", f"'{name}' is not in projects/PROJECT/locations/REGION")


def short(name: str) -> str:
    """A name's last part."""
    return name.rpartition("/")[2]


def parent(name: str) -> str:
    """The name of the resource that it belongs to."""
    return name.rsplit("/", 2)[0]


def check_job_id(job_id: str) -> None:
    """INVALID_ARGUMENT unless a job can be called so."""
    if not job_id:
        raise invalid("job_id", "Required field not set: the job id.")
    if not _JOB_ID.fullmatch(job_id):
        raise invalid(
            "job_id",
            f"Invalid job id '{job_id}': only lowercase letters, digits and hyphens; must begin "
            "with a letter, cannot end with a hyphen, and must be less than 50 characters.",
        )


def not_found(name: str) -> ApiError:
    """In the words of the service."""
    location = location_of(name)
    kind = _KINDS.get(name.split("/")[-2], "RESOURCE")
    return ApiError(
        "NOT_FOUND",
        f"Resource '{short(name)}' of kind '{kind}' in region '{location.region}' in project "
        f"'{location.project}' does not exist.",
    )
