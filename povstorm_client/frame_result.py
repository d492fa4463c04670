"""FrameResult: what became of one frame, as stored in ``jobs/<job_id>/results/``.

Written by render_image as a frame's commit point; read by the flow, the client and the report.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from povstorm_client.errors import InputError, StorageError
from povstorm_client.paths import check_workspace_path

_ERROR_SHOWN = 120

FrameState = Literal["rendered", "retrying", "failed"]


@dataclass(frozen=True)
class FrameStatistics:
    """What rendering one frame took.

    Seconds by phase are POV-Ray's own (wall time of the phase); cpu_seconds (user and system) and
    peak_memory_bytes are the process's, from ``wait4(2)``; wall_seconds is start to end of the
    process. rays and samples are None where POV-Ray printed none.
    """

    parse_seconds: float
    bounding_seconds: float
    photon_seconds: float
    radiosity_seconds: float
    trace_seconds: float
    cpu_seconds: float
    wall_seconds: float
    peak_memory_bytes: int
    pixels: int
    rays: int | None
    samples: int | None
    image_bytes: int


@dataclass(frozen=True)
class FrameResult:
    """The outcome of a frame's last attempt.

    state: "rendered" (image is stored and verified), "retrying" (another attempt follows) or
    "failed" (for good). image: name below the job's ``output/``; image_crc32c as GCS writes it;
    extra_outputs: what else the scene wrote to ``./output``.
    started, ended: Unix seconds; queue_seconds: from the job's start of rendering to started.
    attempt counts from 1. cache_hit: the image comes from an earlier job, as do the statistics.
    error: the failure in one line; log_tail: POV-Ray's last lines. out_of_memory: whether memory
    ran out, as far as can be told.
    """

    work_unit_id: str
    job_id: str
    frame: int
    state: FrameState
    attempt: int
    host: str
    started: float
    ended: float
    queue_seconds: float = 0.0
    cache_hit: bool = False
    image: str = ""
    image_bytes: int = 0
    image_crc32c: str = ""
    extra_outputs: list[str] = field(default_factory=list)
    width: int = 0
    height: int = 0
    renderer_version: str = ""
    statistics: FrameStatistics | None = None
    error: str = ""
    log_tail: str = ""
    out_of_memory: bool = False

    def __repr__(self) -> str:
        taken = f", {self.statistics.wall_seconds:.1f} s" if self.statistics else ""
        cached = ", from cache" if self.cache_hit else ""
        # Other people's text: quoted, so that it stays in its line and steers no terminal.
        error = f", {self.error[:_ERROR_SHOWN]!r}" if self.error else ""
        return (
            f"<FrameResult frame {self.frame} of {self.job_id}: {self.state}, attempt "
            f"{self.attempt}{cached}{taken}{error}>"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> FrameResult:
        """The inverse of to_json; raises StorageError for what is not a FrameResult."""
        try:
            for name in [data.get("image", ""), *data.get("extra_outputs", [])]:
                if name:
                    # Whoever saves the images writes files of these names.
                    check_workspace_path(name, "an image")
            statistics = data.get("statistics")
            return cls(
                **{
                    **data,
                    "statistics": FrameStatistics(**statistics) if statistics else None,
                }
            )
        except (AttributeError, TypeError, InputError) as error:
            raise StorageError(f"a stored frame result is not readable: {error}") from error
