"""What a frame needs of a container's memory: which render job gets it, how many it has in work.

The planner of waves, a preview and ``--dry-run`` choose a job by it; a container's entrypoint asks
how many frames have room in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from povstorm_client.cloud_run.terraform_outputs import CloudRunJob

# Python with the storage client, and what the kernel counts beside.
CONTAINER_BYTES = 192 * 2**20
# A container's file system is memory, and POV-Ray 3.7 keeps 20 bytes a pixel in its state file
# while it renders (measured), beside the image.
_FILE_BYTES_PER_PIXEL = 20 + 8
# How much more than the largest frame so far the largest of all may need.
_GROWTH = 1.2


def frame_bytes(width: int, height: int, peak_bytes: int) -> int:
    """The memory that a frame in work holds; peak_bytes: of its POV-Ray process."""
    return peak_bytes + width * height * _FILE_BYTES_PER_PIXEL


def job_with_room(jobs: Sequence[CloudRunJob], frame: int) -> int:
    """The index of the smallest job that has room for a frame on each vCPU; else of the largest.

    frame: the memory that each holds. There too no more are in work at once than have room.
    """
    fitting = (
        at for at, job in enumerate(jobs) if _room(job.memory_mib * 2**20, frame) >= job.vcpus
    )
    return next(fitting, len(jobs) - 1)


def frames_with_room(memory_bytes: int, frame: int) -> int:
    """How many frames have room in a container at once, one at least; frame: what each holds."""
    return max(1, _room(memory_bytes, frame))


def _room(memory_bytes: int, frame: int) -> int:
    return int((memory_bytes - CONTAINER_BYTES) / (max(1, frame) * _GROWTH))
