"""Limits: what one frame's POV-Ray may use before it is stopped; what a renderer passes on.

The kernel enforces memory and file size, process_watch.py the rest.
"""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass, field, replace

from povstorm_client.frames.job_settings import STALL_SECONDS, JobSettings
from povstorm_client.programs.memory import total_memory
from render_image.scene_tree import LaidOut

_GIB = 1 << 30
# A frame may have most of the machine, but what orchestrates it has to go on.
_MEMORY_SHARE = 7 / 8
# Bytes a pixel: POV-Ray 3.7 keeps 20 in its .pov-state (measured), and a PNG has at most 8.
_FILE_BYTES_PER_PIXEL = 32
# POV-Ray writes a line of 40 bytes about every 512 pixels; retraced ones count again.
_LOG_BYTES_PER_PIXEL = 1 / 4


def most_memory() -> int:
    """The bytes of memory that a frame may have at most: a share of the machine's."""
    return int(total_memory() * _MEMORY_SHARE)


@dataclass(frozen=True)
class Limits:
    """Limits for one frame; None is no limit.

    memory_bytes: POV-Ray's data (heap, stacks, maps; not its program text and libraries), by
    default most of the machine's.
    stall_seconds: time in which not one more pixel was rendered; parsing is one such time.
    hang_seconds: time in which all of POV-Ray's threads wait for each other.
    file_bytes: one file; output_bytes and files: all files that a frame leaves together.
    log_bytes: POV-Ray's printed output. threads: POV-Ray has some for itself beside those that it
    renders with. For larger images, for_image raises all bytes but memory's.
    """

    memory_bytes: int | None = field(default_factory=most_memory)
    stall_seconds: float | None = STALL_SECONDS
    hang_seconds: float = 120.0
    file_bytes: int = 1 * _GIB
    output_bytes: int = 2 * _GIB
    files: int = 10_000
    log_bytes: int = 16 << 20
    threads: int = 1_024

    @classmethod
    def of_job(cls, settings: JobSettings) -> Limits:
        """The limits of a job's frames where the flow's machine renders them."""
        memory = settings.frame_memory
        return cls(
            memory_bytes=most_memory() if memory is None else memory,
            stall_seconds=settings.stall_timeout,
        )

    @classmethod
    def in_container(cls, stall_timeout: float | None) -> Limits:
        """The limits in a container: a frame that needs more than its memory gets a larger one."""
        return cls(memory_bytes=None, stall_seconds=stall_timeout)

    def for_image(self, width: int, height: int) -> Limits:
        """The limits with room for an image of that size in pixels."""
        pixels = width * height
        return replace(
            self,
            file_bytes=self.file_bytes + pixels * _FILE_BYTES_PER_PIXEL,
            output_bytes=self.output_bytes + pixels * _FILE_BYTES_PER_PIXEL,
            log_bytes=self.log_bytes + int(pixels * _LOG_BYTES_PER_PIXEL),
        )

    def beside(self, laid_out: LaidOut) -> Limits:
        """The limits with room for what of the scene's own files is in the workspace already."""
        return replace(
            self,
            output_bytes=self.output_bytes + laid_out.size,
            files=self.files + laid_out.files,
        )

    def arguments(self) -> list[str]:
        """What to put before a command so that the kernel holds it to them.

        util-linux's wrapper around setrlimit(2); [] where it is not installed. RLIMIT_DATA follows
        what POV-Ray really uses to 22 MB, RLIMIT_AS is 250 to 600 MB above it (measured).
        """
        prlimit = _prlimit()
        if prlimit is None:
            return []
        arguments = [prlimit, "--core=0", f"--fsize={self.file_bytes}"]
        if self.memory_bytes is not None:
            arguments.append(f"--data={self.memory_bytes}")
        return arguments


@functools.cache
def _prlimit() -> str | None:
    return shutil.which("prlimit")
