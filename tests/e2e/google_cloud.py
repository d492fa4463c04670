"""A Google Cloud for tests: a GCS server, the metadata server, and the Cloud Run stand-in.

Containers reach the bucket through a door of their own, which grants them what terraform grants the
renderer, and refuses all else as Google does. The outputs file is what ``terraform output -json``
would print.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from povstorm_client.cloud_run.api import EMULATOR_VARIABLE
from povstorm_client.version import povstorm_version
from tests.emulators.cloud_run.server import ENTRYPOINT, PROJECT, REGION, CloudRunServer
from tests.emulators.gcs.proxy import GcsProxy, Grant
from tests.emulators.gcs.server import GcsServer
from tests.emulators.metadata_server import MetadataServer

SIZES = {"render-512m": 512, "render-2g": 2048}
IMAGE = f"{REGION}-docker.pkg.dev/{PROJECT}/povstorm/render:{povstorm_version()}"
# Containers need a moment to start, not all the same; executions are listed in any order.
_STRICT = {"list_order": "any", "startup_seconds": 0.2, "startup_jitter": 1.0}
# What tests/terraform finds that the applied configuration grants the renderer.
RENDERER_GRANTS = [
    Grant("objects.list", "shared/"),
    Grant("objects.get", "shared/"),
    Grant("objects.get", "jobs/"),
    Grant("objects.create", "jobs/"),
]


@dataclass(frozen=True)
class GoogleCloud:
    """The servers, and the file that names what is on them. door: the containers' to the bucket."""

    outputs: Path
    run: CloudRunServer
    bucket: str
    door: GcsProxy


@contextmanager
def google_cloud(
    folder: Path,
    gcs: GcsServer,
    command: tuple[str, ...] = ENTRYPOINT,
    containers_environment: Mapping[str, str] | None = None,
    grants: Sequence[Grant] = tuple(RENDERER_GRANTS),
    **knobs: Any,
) -> Iterator[GoogleCloud]:
    """A cloud with an empty bucket and two render jobs; the environment points to it.

    containers_environment: further variables of the containers. grants: what their account may do
    with objects. knobs: of the Cloud Run stand-in; executions are listed in any order.
    """
    bucket = gcs.make_bucket()
    environment = {"STORAGE_EMULATOR_HOST": gcs.url}
    with contextlib.ExitStack() as stack:
        metadata = stack.enter_context(MetadataServer())
        door = stack.enter_context(GcsProxy())
        door.upstream = gcs.own_url
        # A client that is sent to another address than Google's shows no token.
        door.grants = {"": list(grants)}
        inside = {
            **metadata.environment,
            "HOME": str(folder),
            "STORAGE_EMULATOR_HOST": door.url,
            **(containers_environment or {}),
        }
        run = stack.enter_context(CloudRunServer(command, inside, **{**_STRICT, **knobs}))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, memory in SIZES.items():
            run.create_job(name, memory=f"{memory}Mi", image=IMAGE)
        for name, value in {
            **environment,
            **metadata.environment,
            EMULATOR_VARIABLE: run.rest_url,
        }.items():
            patch.setenv(name, value)
        outputs = folder / "outputs.json"
        outputs.write_text(json.dumps(terraform_outputs(bucket)))
        yield GoogleCloud(outputs, run, bucket, door)


def terraform_outputs(bucket: str) -> dict[str, Any]:
    """What ``terraform output -json`` says of the cloud."""
    account = f"@{PROJECT}.iam.gserviceaccount.com"
    values = {
        "project_id": PROJECT,
        "region": REGION,
        "bucket": bucket,
        "render_image": IMAGE,
        **{
            f"{who}_service_account": who + account
            for who in ("renderer", "orchestrator", "submitter")
        },
        "render_jobs": [
            {
                "name": name,
                "vcpus": 1,
                "memory_mib": memory,
                "parallelism": 4,
                "max_retries": 0,
                "task_timeout_seconds": 600,
            }
            for name, memory in SIZES.items()
        ],
    }
    return {
        name: {"sensitive": False, "type": "dynamic", "value": value}
        for name, value in values.items()
    }
