"""Remember what a scene's frames took, by which its next run on Cloud Run is planned.

It needs no sample then, and begins with the frames that take long. flows/job_steps.py calls it
after rendering.
"""

from __future__ import annotations

from collections.abc import Sequence

from povstorm_client.cloud_run.frame_times import FrameTimes, write_frame_times
from povstorm_client.cloud_run.scene_estimate import Estimate, scene_digest, write_estimate
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.storage.protocol import Storage


def remember_estimate(
    storage: Storage,
    manifest: JobManifest,
    units: Sequence[WorkUnit],
    results: Sequence[FrameResult],
) -> None:
    """Store the estimate of the frames that this run rendered; nothing if it rendered none."""
    estimate = Estimate()
    for result in results:
        if result.state == "rendered" and not result.cache_hit:
            estimate = estimate.with_frame(result)
    settings = units[0].settings
    if estimate.frames:
        write_estimate(storage, scene_digest(manifest.name, settings), estimate)
    # A few frames that were rendered again tell less than the run before, of all of them.
    if 2 * estimate.frames >= len(manifest.frames):
        write_frame_times(storage, manifest.name, settings, FrameTimes.of(results, settings))
