"""The one place that chooses a renderer for a job; called by job_steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.programs.sandbox_mode import sandbox_mode_here
from povstorm_client.programs.tools import require_povray
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.protocol import Storage
from render_image.frame_limits import Limits
from tasks.renderers.local_renderer import LocalRenderer
from tasks.renderers.renderer import Renderer


def choose_renderer(
    storage: Storage,
    manifest: JobManifest,
    units: list[WorkUnit],
    *,
    gcp_credentials: str,
    logger: RunLogger,
    tell: Callable[[str], None],
    known: Mapping[str, tuple[float, int]],
) -> Renderer:
    """Cloud Run where the manifest names a fleet, this machine otherwise.

    gcp_credentials: name of a GcpCredentials block, "" for the application default. tell: shows
    people a line while frames wait for Google Cloud, "" when they no longer do. known: versions of
    the results that were there when the frames to render were chosen. Raises ToolError where
    POV-Ray is needed here and missing.
    """
    if manifest.cloud_run is None:
        return _local_renderer(storage, manifest)
    # Here: the first frame of a local job waits for every import.
    from povstorm_client.cloud_run.api import GoogleCloudRun
    from povstorm_client.cloud_run.frame_times import read_frame_times
    from povstorm_client.cloud_run.scene_estimate import read_estimate, scene_digest
    from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer

    settings = units[0].settings
    return CloudRunRenderer(
        storage,
        manifest.job_id,
        manifest.cloud_run,
        GoogleCloudRun(google_credentials(gcp_credentials)),
        estimate=read_estimate(storage, scene_digest(manifest.name, settings)),
        times=read_frame_times(storage, manifest.name, settings),
        settings=manifest.settings,
        logger=logger,
        tell=tell,
        known=known,
    )


def _local_renderer(storage: Storage, manifest: JobManifest) -> LocalRenderer:
    return LocalRenderer(
        storage,
        require_povray(),
        frame_timeout=manifest.settings.frame_timeout,
        sandbox=sandbox_mode_here(),
        limits=Limits.of_job(manifest.settings),
    )
