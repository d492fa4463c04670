"""What users import: Cluster, Job, WorkUnit, RenderSettings, what they give back, and the errors.

A name is imported when it is first used: a render container needs few of the modules, and pays
for each at its start.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from povstorm_client.checks import Check
    from povstorm_client.cloud_run.api import ExecutionState
    from povstorm_client.cluster import Cluster
    from povstorm_client.errors import (
        CloudError,
        InputError,
        JobError,
        PovstormError,
        RecordError,
        RenderError,
        StorageError,
        ToolError,
        VideoError,
    )
    from povstorm_client.frame_result import FrameResult, FrameStatistics
    from povstorm_client.job import Job
    from povstorm_client.job_state import JobState
    from povstorm_client.job_statistics import FrameLine, JobStatistics, Percentiles
    from povstorm_client.job_summary import JobSummary
    from povstorm_client.render_settings import RenderSettings
    from povstorm_client.terraform_outputs import RenderJob, TerraformOutputs
    from povstorm_client.work_unit import WorkUnit
else:
    _HOMES = {
        "Check": "povstorm_client.checks",
        "CloudError": "povstorm_client.errors",
        "Cluster": "povstorm_client.cluster",
        "ExecutionState": "povstorm_client.cloud_run.api",
        "FrameLine": "povstorm_client.job_statistics",
        "FrameResult": "povstorm_client.frame_result",
        "FrameStatistics": "povstorm_client.frame_result",
        "InputError": "povstorm_client.errors",
        "Job": "povstorm_client.job",
        "JobError": "povstorm_client.errors",
        "JobState": "povstorm_client.job_state",
        "JobStatistics": "povstorm_client.job_statistics",
        "JobSummary": "povstorm_client.job_summary",
        "Percentiles": "povstorm_client.job_statistics",
        "PovstormError": "povstorm_client.errors",
        "RecordError": "povstorm_client.errors",
        "RenderError": "povstorm_client.errors",
        "RenderJob": "povstorm_client.terraform_outputs",
        "RenderSettings": "povstorm_client.render_settings",
        "StorageError": "povstorm_client.errors",
        "TerraformOutputs": "povstorm_client.terraform_outputs",
        "ToolError": "povstorm_client.errors",
        "VideoError": "povstorm_client.errors",
        "WorkUnit": "povstorm_client.work_unit",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(_HOMES[name]), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})


__all__ = [
    "Check",
    "CloudError",
    "Cluster",
    "ExecutionState",
    "FrameLine",
    "FrameResult",
    "FrameStatistics",
    "InputError",
    "Job",
    "JobError",
    "JobState",
    "JobStatistics",
    "JobSummary",
    "Percentiles",
    "PovstormError",
    "RecordError",
    "RenderError",
    "RenderJob",
    "RenderSettings",
    "StorageError",
    "TerraformOutputs",
    "ToolError",
    "VideoError",
    "WorkUnit",
]
