"""What users import: Cluster, Job, WorkUnit, RenderSettings and the errors."""

from povstorm_client.cluster import Cluster
from povstorm_client.errors import (
    InputError,
    JobError,
    PovstormError,
    RenderError,
    StorageError,
    ToolError,
    VideoError,
)
from povstorm_client.job import Job
from povstorm_client.render_settings import RenderSettings
from povstorm_client.work_unit import WorkUnit

__all__ = [
    "Cluster",
    "InputError",
    "Job",
    "JobError",
    "PovstormError",
    "RenderError",
    "RenderSettings",
    "StorageError",
    "ToolError",
    "VideoError",
    "WorkUnit",
]
