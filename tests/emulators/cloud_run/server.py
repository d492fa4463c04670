"""CloudRunServer: the stand-in as a process of its own, for tests and benchmarks."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from tests.emulators.cloud_run.enums import enum_numbers
from tests.emulators.cloud_run.process_containers import GRACE_SECONDS
from tests.emulators.iam.project import GoogleProject
from tests.emulators.processes import free_port, wait_for_port

ROOT = Path(__file__).parents[3]
# The container's entrypoint, run by this Python instead of the image's.
ENTRYPOINT = (sys.executable, "-P", "-m", "render_image.entrypoint")
PROJECT, REGION = "test-project", "europe-west1"


class CloudRunServer:
    """A running server; CLOUD_RUN_EMULATOR_HOST is its ``rest_url``.

    command, engine: as in process_containers.ProcessContainers. environment: of each container.
    project: by whose policy callers are judged. grpc: whether it is at ``grpc_target`` too, which
    is most of what its start costs. knobs: as in knobs.py.
    """

    def __init__(
        self,
        command: Sequence[str] = ENTRYPOINT,
        environment: Mapping[str, str] | None = None,
        *,
        engine: Sequence[str] = (),
        grace_seconds: float = GRACE_SECONDS,
        project: GoogleProject | None = None,
        grpc: bool = False,
        **knobs: Any,
    ) -> None:
        self._ports = [free_port() for _ in range(2 if grpc else 1)]
        self.rest_url = f"http://127.0.0.1:{self._ports[0]}"
        self.grpc_target = f"127.0.0.1:{self._ports[1]}" if grpc else ""
        self._arguments = [
            # However this process ends, the server ends with it.
            "--until-input-ends",
            *("--rest-port", str(self._ports[0])),
            *(("--grpc-port", str(self._ports[1])) if grpc else ()),
            *("--command", shlex.join(command), "--engine", shlex.join(engine)),
            *("--project", str(project.folder) if project else ""),
            *("--enum-numbers", json.dumps(enum_numbers())),
            *("--knobs", json.dumps(knobs), "--grace-seconds", str(grace_seconds)),
        ]
        inside = dict(environment or {})
        if project is None:
            # A flow that runs as a Cloud Run job starts executions of others.
            inside["CLOUD_RUN_EMULATOR_HOST"] = self.rest_url
        for name, value in inside.items():
            self._arguments += ["--env", f"{name}={value}"]

    def __enter__(self) -> CloudRunServer:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.emulators.cloud_run", *self._arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
        )
        for port in self._ports:
            wait_for_port(port, self._process)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)

    def set_knobs(self, **knobs: Any) -> None:
        """Change limits and faults from now on."""
        requests.post(f"{self.rest_url}/standin/knobs", json=knobs, timeout=30).raise_for_status()

    def statistics(self) -> dict[str, Any]:
        """API calls by method, and the bill (billing.py)."""
        answer = requests.get(f"{self.rest_url}/standin/statistics", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def create_job(
        self,
        name: str,
        *,
        memory: str = "512Mi",
        image: str = "render:test",
        token: str = "",
        project: str = PROJECT,
        **template: Any,
    ) -> str:
        """A render job, as terraform would make it with the token; returns its full name."""
        parent = f"projects/{project}/locations/{REGION}"
        container = {
            "image": image,
            "resources": {"limits": {"cpu": "1", "memory": memory}},
        }
        body = {"template": {"template": {"containers": [container], "maxRetries": 0, **template}}}
        answer = requests.post(
            f"{self.rest_url}/v2/{parent}/jobs",
            params={"jobId": name},
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        answer.raise_for_status()
        return f"{parent}/jobs/{name}"
