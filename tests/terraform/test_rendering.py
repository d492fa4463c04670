"""A cluster made by terraform renders: with its outputs, its render jobs and its renderer's rights.

Terraform runs on the stub provider; the Cloud Run stand-in and the GCS server have what it made.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import requests

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from povstorm_client.cloud_run.terraform_outputs import read_terraform_outputs
from tests.conftest import SPHERE
from tests.e2e.conftest import on_server, prefect_server
from tests.e2e.google_cloud import google_cloud
from tests.emulators.cloud_run.server import PROJECT, REGION, CloudRunServer
from tests.emulators.gcs.proxy import GcsProxy
from tests.emulators.gcs.server import GcsServer
from tests.terraform.access import object_grants
from tests.terraform.cloud_run_jobs import render_job_bodies
from tests.terraform.stub_provider import StubProvider
from tests.terraform.terraform_command import Terraform, applied

__all__ = ["on_server", "prefect_server"]


@pytest.mark.skipif(shutil.which("povray") is None, reason="there is no POV-Ray here")
def test_a_cluster_made_by_terraform_renders(
    tmp_path: Path,
    provider: StubProvider,
    on_server: str,
):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "colour.inc").write_text("#declare Colour = rgb x;\n")
    with GcsProxy() as proxy, GcsServer(proxy) as gcs:
        gcs.url = proxy.upstream  # everybody else's way around the proxy
        with google_cloud(tmp_path, gcs, containers_storage=proxy.url) as cloud:
            variables = {"project_id": PROJECT, "region": REGION, "bucket_name": cloud.bucket}
            terraform = applied(variables, tmp_path / "made", provider)
            file = terraform.write_outputs()
            outputs = read_terraform_outputs(file)
            renderer = f"serviceAccount:{outputs.renderer_service_account}"
            proxy.grants = {"": object_grants(terraform.resources(), renderer)}
            make_render_jobs(terraform, cloud.run)

            job = Job(Cluster.from_terraform_outputs(file), "sphere", retries=0)
            job.add_shared_resources(shared)
            settings = RenderSettings(scene="sphere.pov", width=64, height=48, final_frame=2)
            for frame in (1, 2):
                unit = WorkUnit(settings, frame=frame)
                unit.add_inline_resource("sphere.pov", '#include "shared/colour.inc"\n' + SPHERE)
                job.add_work_unit(unit)
            job.run(show_progress=False)

            assert sorted(job.images()) == [1, 2]
            hosts = {result.host for result in job.results()}
            assert all(host.startswith("povstorm-render-2g-") for host in hosts)


def make_render_jobs(terraform: Terraform, run: CloudRunServer) -> None:
    """In the stand-in, as the provider makes them at Google."""
    jobs = f"{run.rest_url}/v2/projects/{PROJECT}/locations/{REGION}/jobs"
    for name, body in render_job_bodies(terraform.resources()).items():
        answer = requests.post(jobs, params={"jobId": name}, json=body, timeout=30)
        assert answer.ok, answer.text
