"""CloudRunFleet: the Cloud Run jobs that a job's frames may use, and how; kept in its manifest.

Cluster makes it from the terraform outputs, the flow's CloudRunRenderer works with it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from msgspec import Meta

from povstorm_client.cloud_run.terraform_outputs import RenderJob
from povstorm_client.errors import InputError
from povstorm_client.storage.records import Name, Seconds, Usd

LEANS = ("fastest", "balanced", "cheapest")


@dataclass(frozen=True)
class CloudRunFleet:
    """Where frames are rendered on Cloud Run.

    jobs: one for each size of memory, ascending. lean: what the plan prefers. max_usd: refuse to
    spend more on this job, None for no limit. seconds_per_frame: CPU seconds that a frame is
    expected to take, None to measure it on the first frames.

    Raises InputError for values that cannot be meant.
    """

    project_id: Name
    region: Name
    jobs: Annotated[tuple[RenderJob, ...], Meta(min_length=1)]
    lean: str = "balanced"
    max_usd: Usd | None = None
    seconds_per_frame: Seconds | None = None

    def __post_init__(self) -> None:
        if self.lean not in LEANS:
            raise InputError(f"lean {self.lean!r} is not known: {', '.join(LEANS)}")
        if self.max_usd is not None and self.max_usd <= 0:
            raise InputError(f"the most it may cost is {self.max_usd} USD: give more than 0")
        if self.seconds_per_frame is not None and self.seconds_per_frame <= 0:
            raise InputError(f"{self.seconds_per_frame} seconds a frame: give more than 0")

    def job_path(self, job: RenderJob) -> str:
        """The job's full name in the Admin API."""
        return f"projects/{self.project_id}/locations/{self.region}/jobs/{job.name}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)
