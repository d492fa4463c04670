"""The audit of a run: what must hold whatever went wrong, read from storage and the machine."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
from PIL import UnidentifiedImageError

from povstorm_client.jobs.state import read_state
from povstorm_client.jobs.statistics import JobStatistics
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from tests.chaos.animation import digest
from tests.chaos.processes import processes_of
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
    allowed: Mapping[int, int],
    temporary: Path,
    running_executions: list[str],
    servers: int = 0,
) -> Audit:
    """Look at everything that a run has left.

    reference: digests of the right pixels, by frame. allowed: how many renderings of a frame the
    faults explain, the first included. temporary: the folder of the run's temporary files. servers:
    how many Prefect servers of its flows still run.
    """
    # Before anything here makes files.
    left = [f"a temporary file is left: {path}" for path in sorted(temporary.iterdir())]
    frames, violations, corrupt = _check_frames(storage, job_id, reference)
    lost = sorted(set(reference) - frames)
    violations += [f"frame {frame} is lost" for frame in lost]
    violations += [f"a half image was visible: {broken}" for broken in seen.broken]
    violations += [f"frame {frame} was rendered, and then was not" for frame in seen.undone]
    violations += [
        f"frame {frame} was rendered {count} times, {allowed.get(frame, 0)} are explained"
        for frame, count in sorted(seen.renderings.items())
        if count > allowed.get(frame, 0)
    ]
    unseen = frames - set(seen.renderings)
    violations += [f"frame {frame} has an image, and nobody rendered it" for frame in unseen]
    violations += _check_end(storage, job_id, frames)
    violations += [f"a process is left: {words}" for words in processes_of(job_id)]
    violations += left
    violations += [f"an execution is left: {name}" for name in running_executions]
    violations += [f"{servers} Prefect servers are left"] if servers else []
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
        content = storage.read(image.key)
        try:
            is_right = digest(content) == reference.get(frame)
        except (UnidentifiedImageError, OSError, SyntaxError):
            is_right = False
        if not is_right or len(content) != result["image_bytes"]:
            corrupt += 1
            violations.append(f"the image of frame {frame} is wrong")
        elif _crc32c(content) != result["image_crc32c"]:
            violations.append(f"the checksum of frame {frame} is of another image")
    violations += [f"an image belongs to no frame: {name}" for name in images]
    return frames, violations, corrupt


def _check_end(storage: Storage, job_id: str, frames: set[int]) -> list[str]:
    """What is wrong with the job's state, statistics, video and report."""
    violations = []
    state = read_state(storage, job_id)
    if state is None or state.phase != "completed" or state.done != len(frames):
        violations.append(f"the job's state is {state}")
    video, report = layout.video(job_id, "mp4"), layout.report(job_id)
    ends = (layout.statistics(job_id), video, report)
    violations += [f"there is no {key}" for key in ends if storage.stat(key) is None]
    if violations:
        return violations
    statistics = JobStatistics.from_json(json.loads(storage.read(layout.statistics(job_id))))
    counted = Counter(line.frame for line in statistics.frames if line.state == "rendered")
    if counted != Counter(frames) or statistics.frames_failed:
        violations.append(f"the statistics count {dict(counted)}")
    seconds = [statistics.elapsed_seconds]
    for line in statistics.frames:
        seconds += [line.queue_seconds, line.wall_seconds or 0.0, line.ended - line.started]
    if min(seconds) < 0:
        violations.append(f"the statistics have {min(seconds)} seconds")
    if _video_frames(storage.read(video)) != len(frames):
        violations.append(f"the video has {_video_frames(storage.read(video))} frames")
    if not storage.read(report).rstrip().endswith(b"</html>"):
        violations.append("the report has no end")
    return violations


def _crc32c(content: bytes) -> str:
    """As Cloud Storage writes it."""
    return base64.b64encode(google_crc32c.Checksum(content).digest()).decode()


def _video_frames(video: bytes) -> int:
    """How many frames of it can be decoded."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(video)
        file.flush()
        counted = subprocess.run(
            [
                *("ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0"),
                *("-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", file.name),
            ],
            check=True,
            capture_output=True,
        )
    return int(counted.stdout.strip().rstrip(b","))
