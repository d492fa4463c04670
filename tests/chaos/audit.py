"""The audit of a run: what must hold whatever went wrong, read from storage and the machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from PIL import UnidentifiedImageError

from povstorm_client import layout
from povstorm_client.storage import Storage
from tests.chaos.animation import digest
from tests.chaos.watcher import Seen


@dataclass(frozen=True)
class Audit:
    """violations: one line each. The counts are of frames."""

    violations: list[str]
    rendered: int
    lost: int
    corrupt: int


def audit(
    storage: Storage,
    job_id: str,
    *,
    reference: Mapping[int, str],
    seen: Seen,
    explained: int,
    temporary: Path,
    running_executions: list[str],
) -> Audit:
    """Look at everything that a run has left.

    reference: digests of the right pixels, by frame. explained: how many renderings the faults
    explain beyond one a frame. temporary: the folder of the run's temporary files.
    """
    frames, violations, corrupt = _check_frames(storage, job_id, reference)
    lost = sorted(set(reference) - frames)
    violations += [f"frame {frame} is lost" for frame in lost]
    violations += [f"a half image was visible: {broken}" for broken in seen.broken]
    again = sum(seen.renderings.values()) - len(reference)
    if again > explained:
        violations.append(
            f"{again} renderings too many, {explained} are explained: {dict(seen.renderings)}"
        )
    unseen = frames - set(seen.renderings)
    violations += [f"frame {frame} has an image, and nobody rendered it" for frame in unseen]
    violations += [f"a process is left: {words}" for words in processes_of(job_id)]
    violations += [f"a temporary file is left: {path}" for path in sorted(temporary.iterdir())]
    violations += [f"an execution is left: {name}" for name in running_executions]
    return Audit(violations, len(frames), len(lost), corrupt)


def _check_frames(
    storage: Storage, job_id: str, reference: Mapping[int, str]
) -> tuple[set[int], list[str], int]:
    """The frames with a result and a right image, what is wrong, and how many are corrupt."""
    images = {
        entry.key.removeprefix(f"{layout.output(job_id)}/"): entry
        for entry in storage.list(layout.output(job_id))
    }
    frames: set[int] = set()
    violations, corrupt = [], 0
    for entry in storage.list(layout.results(job_id)):
        result = json.loads(storage.read(entry.key))
        frame, name = result["frame"], result["image"]
        if result["state"] != "rendered":
            violations.append(f"frame {frame} is {result['state']}: {result['error']}")
            continue
        if frame in frames:
            violations.append(f"frame {frame} is there twice")
        frames.add(frame)
        image = images.pop(name, None)
        if image is None:
            violations.append(f"the image of frame {frame} is not there")
            continue
        try:
            is_right = digest(storage.read(image.key)) == reference.get(frame)
        except (UnidentifiedImageError, OSError, SyntaxError):
            is_right = False
        if not is_right or image.size != result["image_bytes"]:
            corrupt += 1
            violations.append(f"the image of frame {frame} is wrong")
    violations += [f"an image belongs to no frame: {name}" for name in images]
    return frames, violations, corrupt


def processes_of(job_id: str) -> list[str]:
    """Processes that have the job's id, or its name as a scene, among their words or variables."""
    name = job_id.rsplit("-", 3)[0]
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if process.pid == psutil.Process().pid:
            continue
        words = " ".join(process.info["cmdline"] or [])
        if job_id in words or f"{name}.pov" in words:
            found.append(f"{process.pid} {words[:200]}")
    return found
