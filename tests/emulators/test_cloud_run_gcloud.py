"""The Cloud Run stand-in as gcloud and Google's v1 client see it: the v1 (Knative) form."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import google.auth.credentials
import googleapiclient.discovery
import googleapiclient.errors
import pytest
import requests

from tests.emulators.cloud_run.server import PROJECT, REGION, CloudRunServer

PROGRAM = (sys.executable, "-c", "import sys; exec(sys.argv[1])")
ENDLESS = "import time; time.sleep(600)"
NAMESPACE = f"namespaces/{PROJECT}"


@pytest.fixture(scope="module")
def server() -> Iterator[CloudRunServer]:
    with CloudRunServer(PROGRAM) as server:
        yield server


@pytest.fixture(scope="module")
def v1(server: CloudRunServer) -> Any:
    """Google's discovery client, at the host of no region in particular."""
    return googleapiclient.discovery.build(
        "run",
        "v1",
        client_options={"api_endpoint": server.rest_url},
        credentials=google.auth.credentials.AnonymousCredentials(),
        static_discovery=True,
    ).namespaces()


@pytest.fixture(scope="module")
def gcloud(
    server: CloudRunServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``gcloud run jobs …``; it takes the stand-in for its proxy, so that hosts are kept."""
    program = shutil.which("gcloud")
    if program is None:
        pytest.skip("gcloud is not installed (https://cloud.google.com/sdk/docs/install)")
    settings = {
        "CLOUDSDK_CONFIG": str(tmp_path_factory.mktemp("gcloud")),
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN": "http://run.lab/",
        "CLOUDSDK_PROXY_TYPE": "http",
        "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
        "CLOUDSDK_PROXY_PORT": server.rest_url.rpartition(":")[2],
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }

    def run(*words: str, anywhere: bool = False) -> subprocess.CompletedProcess[str]:
        region = () if anywhere else ("--region", REGION)
        return subprocess.run(
            [program, "run", "jobs", *words, *region],
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    return run


def read(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def start(server: CloudRunServer, job: str, program: str) -> str:
    """Start an execution through v2; its short name."""
    body = {"overrides": {"containerOverrides": [{"args": [program]}]}}
    answer = requests.post(f"{server.rest_url}/v2/{job}:run", json=body, timeout=30)
    return answer.json()["metadata"]["name"].rpartition("/")[2]


def test_gcloud_lists_and_describes_jobs(gcloud, server: CloudRunServer):
    server.create_job("described", memory="2Gi")

    listed = read(gcloud("list", "--format=json"))
    everywhere = read(gcloud("list", "--format=json", anywhere=True))
    described = read(gcloud("describe", "described", "--format=json"))

    assert "described" in [job["metadata"]["name"] for job in listed]
    assert everywhere == listed
    (container,) = described["spec"]["template"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "2Gi"}
    assert [each["status"] for each in described["status"]["conditions"]] == ["True"]
    missing = gcloud("describe", "missing")
    assert missing.returncode == 1
    assert "Cannot find job [missing]" in missing.stderr


def test_gcloud_executes_a_job_and_waits_for_its_end(gcloud, server: CloudRunServer):
    server.create_job("executed")

    done = gcloud("execute", "executed", "--wait", "--args=pass", "--tasks=2", "--format=json")
    failed = gcloud("execute", "executed", "--wait", "--args=raise SystemExit(3)")
    listed = read(gcloud("executions", "list", "--job=executed", "--format=json"))

    assert read(done)["status"]["succeededCount"] == 2
    assert "has successfully completed" in done.stderr
    assert failed.returncode == 1
    assert "The execution failed." in failed.stderr
    assert [each["status"].get("failedCount", 0) for each in listed] == [1, 0]
    (completed,) = (
        each for each in listed[0]["status"]["conditions"] if each["type"] == "Completed"
    )
    assert (completed["status"], completed["reason"]) == ("False", "NonZeroExitCode")


def test_gcloud_cancels_an_execution_and_sees_its_tasks(gcloud, server: CloudRunServer):
    name = start(server, server.create_job("cancelled"), ENDLESS)

    done = gcloud("executions", "cancel", name)

    assert done.returncode == 0, done.stderr
    assert f"Cancelled execution [{name}]" in done.stderr
    described = read(gcloud("executions", "describe", name, "--format=json"))
    assert described["status"]["cancelledCount"] == 1
    (task,) = read(gcloud("executions", "tasks", "list", f"--execution={name}", "--format=json"))
    state = task["metadata"]["labels"]["run.googleapis.com/runningState"]
    assert state in ("Cancelled", "Abandoned")


def test_gcloud_makes_changes_and_deletes_a_job(gcloud):
    made = gcloud("create", "made", "--image=x", "--memory=1Gi", "--tasks=3", "--set-env-vars=A=b")
    refused = gcloud("update", "made", "--memory=8Gi")
    changed = gcloud("update", "made", "--memory=2Gi", "--max-retries=1")
    spec = read(gcloud("describe", "made", "--format=json"))["spec"]["template"]["spec"]
    deleted = gcloud("delete", "made")

    assert made.returncode == 0, made.stderr
    assert refused.returncode == 1
    assert "For 1.0 CPU, memory must be between 128Mi and 4Gi" in refused.stderr
    assert changed.returncode == 0, changed.stderr
    task = spec["template"]["spec"]
    assert spec["taskCount"] == 3
    assert task["maxRetries"] == 1
    assert task["containers"][0]["resources"]["limits"]["memory"] == "2Gi"
    assert task["containers"][0]["env"] == [{"name": "A", "value": "b"}]
    assert deleted.returncode == 0, deleted.stderr
    assert "Cannot find job" in gcloud("describe", "made").stderr


def test_googles_v1_client_runs_watches_and_cancels(v1: Any, server: CloudRunServer):
    server.create_job("v1")
    body = {"overrides": {"taskCount": 2, "containerOverrides": [{"args": ["pass"]}]}}

    started = v1.jobs().run(name=f"{NAMESPACE}/jobs/v1", body=body).execute()
    name = f"{NAMESPACE}/executions/{started['metadata']['name']}"
    while "completionTime" not in (ended := v1.executions().get(name=name).execute())["status"]:
        time.sleep(0.05)
    endless = {"overrides": {"containerOverrides": [{"args": [ENDLESS]}]}}
    second = v1.jobs().run(name=f"{NAMESPACE}/jobs/v1", body=endless).execute()
    cancelled = f"{NAMESPACE}/executions/{second['metadata']['name']}"
    v1.executions().cancel(name=cancelled, body={}).execute()

    assert ended["status"]["succeededCount"] == 2
    assert ended["metadata"]["labels"]["run.googleapis.com/job"] == "v1"
    selector = (
        f"run.googleapis.com/execution={started['metadata']['name']},"
        "run.googleapis.com/runningState in (Succeeded)"
    )
    tasks = v1.tasks().list(parent=NAMESPACE, labelSelector=selector).execute()["items"]
    assert sorted(task["status"].get("index", 0) for task in tasks) == [0, 1]
    with pytest.raises(googleapiclient.errors.HttpError, match="Unknown name"):
        v1.jobs().run(name=f"{NAMESPACE}/jobs/v1", body={"override": {}}).execute()


def test_v1_lists_have_pages(v1: Any, server: CloudRunServer):
    job = server.create_job("paged")
    names = [start(server, job, "pass") for _ in range(3)][::-1]
    selector = {"parent": NAMESPACE, "labelSelector": "run.googleapis.com/job=paged"}

    first = v1.executions().list(**selector, limit=2).execute()
    token = first["metadata"]["continue"]
    second = v1.executions().list(**selector, limit=2, **{"continue": token}).execute()

    found = [item["metadata"]["name"] for page in (first, second) for item in page["items"]]
    assert found == names
    assert "continue" not in second["metadata"]


@pytest.mark.parametrize(
    ("selector", "held"),
    [
        ("run.googleapis.com/job=labelled", True),
        ("run.googleapis.com/job = labelled", True),
        ("run.googleapis.com/job!=labelled", False),
        ("run.googleapis.com/job in (other, labelled)", True),
        ("run.googleapis.com/job notIn (labelled)", False),
        ("run.googleapis.com/job=labelled,nothing", False),
        ("run.googleapis.com/job=labelled,!nothing", True),
    ],
)
def test_label_selectors(v1: Any, server: CloudRunServer, selector: str, held: bool):
    if not any(
        job["metadata"]["name"] == "labelled"
        for job in v1.jobs().list(parent=NAMESPACE).execute()["items"]
    ):
        start(server, server.create_job("labelled"), "pass")

    found = v1.executions().list(parent=NAMESPACE, labelSelector=selector).execute()["items"]

    jobs = {item["metadata"]["labels"]["run.googleapis.com/job"] for item in found}
    assert ("labelled" in jobs) == held
