"""FrameResult: what became of one frame, as stored in ``jobs/<job_id>/results/``.

Written by render_image as a frame's commit point; read by the flow, the client and the report.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from povstorm_client.errors import InputError
from povstorm_client.frames.render_settings import IMAGE_ENDINGS
from povstorm_client.paths import check_workspace_path
from povstorm_client.quantities import duration
from povstorm_client.storage import records
from povstorm_client.storage.records import Count, Frame, JobId, Moment, Seconds

# Whatever the case of its letters: some file systems take them for one.
_IMAGE_NAME = re.compile(
    rf"frame_\d+({'|'.join(map(re.escape, IMAGE_ENDINGS))})", re.ASCII | re.IGNORECASE
)

_ERROR_SHOWN = 120

FrameState = Literal["rendered", "retrying", "failed"]


@dataclass(frozen=True, slots=True)
class FrameStatistics:
    """What rendering one frame took.

    Seconds by phase are POV-Ray's own (wall time of the phase); cpu_seconds (user and system) and
    peak_memory_bytes are the process's, from ``wait4(2)``; wall_seconds is start to end of the
    process. rays and samples are None where POV-Ray printed none.
    """

    parse_seconds: Seconds
    bounding_seconds: Seconds
    photon_seconds: Seconds
    radiosity_seconds: Seconds
    trace_seconds: Seconds
    cpu_seconds: Seconds
    wall_seconds: Seconds
    peak_memory_bytes: Count
    pixels: Count
    rays: Count | None
    samples: Count | None
    image_bytes: Count


@dataclass(frozen=True, slots=True)
class FrameResult:
    """The outcome of a frame's last attempt.

    state: "rendered" (image is stored and verified), "retrying" (another attempt follows) or
    "failed" (for good). image: name below the job's ``output/``; image_crc32c as GCS writes it;
    extra_outputs: what else the scene wrote to ``./output``; extra_crc32c: of each of them, in
    their order, or none of a povstorm that did not keep them.
    started, ended: Unix seconds; queue_seconds: from the job's start of rendering to started.
    attempt counts from 1. cache_hit: the image comes from an earlier job, as do the statistics.
    error: the failure in one line; log_tail: POV-Ray's last lines. out_of_memory: whether memory
    ran out, as far as can be told. lost_container: whether this was stored for a container that
    ended without a result of the frame, and not by it. container_image: by which the frame was
    rendered, "" for none; renderer_version: POV-Ray's.
    """

    work_unit_id: str
    job_id: JobId
    frame: Frame
    state: FrameState
    attempt: Count
    host: str
    started: Moment
    ended: Moment
    queue_seconds: Seconds = 0.0
    cache_hit: bool = False
    image: str = ""
    image_bytes: Count = 0
    image_crc32c: str = ""
    extra_outputs: list[str] = field(default_factory=list)
    extra_crc32c: list[str] = field(default_factory=list)
    width: Count = 0
    height: Count = 0
    renderer_version: str = ""
    statistics: FrameStatistics | None = None
    error: str = ""
    log_tail: str = ""
    out_of_memory: bool = False
    lost_container: bool = False
    container_image: str = ""

    def __repr__(self) -> str:
        taken = f", {duration(self.statistics.wall_seconds)}" if self.statistics else ""
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

    @property
    def rendered_by(self) -> str:
        """The version of what rendered the frame, as the cache has it: of all around POV-Ray."""
        return self.container_image or self.renderer_version

    @property
    def is_scenes_mistake(self) -> bool:
        """Whether POV-Ray could not parse the scene: another attempt would end alike."""
        return self.state == "failed" and is_parse_error(self.error)

    @property
    def what_failed(self) -> str:
        """The error without the container that was lost by it: the same for all that were alike."""
        if not (self.lost_container and self.host):
            return self.error
        # Google's words name the task as EXECUTION-task3, ours as EXECUTION/task-3.
        execution, _, task = self.host.rpartition("/")
        told = self.error.replace(self.host, "")
        return told.replace(f"{execution}-{task.replace('-', '')}", "")

    @property
    def checksums(self) -> dict[str, str]:
        """Name below the job's ``output/`` → crc32c, "" where none was kept."""
        extra = self.extra_crc32c or [""] * len(self.extra_outputs)
        image = {self.image: self.image_crc32c} if self.image else {}
        return image | dict(zip(self.extra_outputs, extra, strict=True))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> FrameResult:
        """The inverse of to_json; raises RecordError for what is not a FrameResult."""
        return _checked(records.convert(data, cls, _WHAT), _WHAT)

    @classmethod
    def from_bytes(cls, data: bytes, what: str = "") -> FrameResult:
        """From what is stored; RecordError, naming what, for what is not a FrameResult."""
        return _checked(records.decode(data, cls, what or _WHAT), what or _WHAT)


def is_image_name(name: str) -> bool:
    """Whether an output has the name of a frame's image, but for the case of its letters."""
    return _IMAGE_NAME.fullmatch(name) is not None


_WHAT = "a stored frame result"


def _checked(result: FrameResult, what: str) -> FrameResult:
    with records.readable(what):
        if "/" in result.work_unit_id:
            raise InputError(f"{result.work_unit_id!r} is no work unit's id")
        check_workspace_path(result.work_unit_id, "a work unit's id")
        for name in [result.image, *result.extra_outputs]:
            # Whoever saves the images writes files of these names. Failures have none.
            if name:
                check_workspace_path(name, "an image")
        if len(result.extra_crc32c) not in (0, len(result.extra_outputs)):
            raise InputError("it has another number of outputs than of their checksums")
    return replace(result, lost_container=True) if _says_that_it_is_lost(result) else result


def _says_that_it_is_lost(result: FrameResult) -> bool:
    """Of a result that was stored without lost_container the dispatcher's error tells it."""
    return (
        result.state != "rendered"
        and "/task-" in result.host
        and result.error.startswith("its container ")
    )


def is_parse_error(error: str) -> bool:
    """Whether a frame's error is one of the scene's text, in POV-Ray's own words for it."""
    return "Parse Error" in error
