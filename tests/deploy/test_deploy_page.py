"""docs/deploy.md is typed, block after block: in each of its ways it renders."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import google.auth.transport.requests
import pytest
import requests
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect_gcp.workers.cloud_run_v2 import CloudRunWorkerJobV2Configuration, CloudRunWorkerV2

from tests.chaos.prefect_server import PrefectServer
from tests.deploy.conftest import OWNER, PROJECT, ROOT, prefect_server
from tests.deploy.doctors_words import Verdict, not_ok, verdicts
from tests.deploy.programs.terraform import RAN_AS
from tests.deploy.typed_page import Shell, all_shell_blocks, shell_blocks
from tests.e2e.granted_cloud import GrantedCloud
from tests.emulators.iam.tokens import email_of, token_of
from tests.emulators.processes import free_port, wait_for_port
from tests.terraform.terraform_command import Resource, resources_of

PAGE = ROOT / "docs" / "deploy.md"
ORCHESTRATOR = f"povstorm-orchestrator@{PROJECT}.iam.gserviceaccount.com"
SUBMITTER = f"serviceAccount:povstorm-submitter@{PROJECT}.iam.gserviceaccount.com"
API_KEY = "pnu_of_flows"


# What is typed for what, in the page's order: each part from one text to another.
PARTS = {
    "cluster": ("# From an empty", "## 2. Prefect"),
    "variables": ("## 2. Prefect", "**(a) Prefect Cloud"),
    "(a)": ("**(a) Prefect Cloud with a push pool.**", "**(b) Your own"),
    "(b)": ("**(b) Your own Prefect server", "With `prefect_server = true`"),
    "own server": ("With `prefect_server = true`", "**(c) A process pool.**"),
    "(c)": ("**(c) A process pool.**", "Whether scenes are contained"),
    "job": ("A job for a deployment", "Cancel it with"),
    "nightly": ("## 3. The nightly render", "## What it costs"),
}


def blocks(part: str) -> list[str]:
    return shell_blocks(PAGE, *PARTS[part])


def test_every_block_of_the_page_is_typed():
    """None of them is an example: what is not to be typed is not marked as ``sh``."""
    assert [block for part in PARTS for block in blocks(part)] == all_shell_blocks(PAGE)
    assert all_shell_blocks(PAGE.with_name("security.md")) == []


def applied(shell: Shell) -> list[Resource]:
    """The state of terraform in the checkout."""
    return resources_of(shell.type("tf show -json"))


@pytest.fixture(scope="module")
def cluster(shell: Shell, cloud: GrantedCloud) -> Shell:
    """The shell of who has typed all before the ways, and has rendered."""
    log_in, apply, act_as, look, render = blocks("cluster")
    shell.type(log_in)
    shell.type(apply)
    assert "FAILED" not in shell.type(act_as)
    (looked,) = verdicts(shell.type(look))
    assert not_ok(looked) == {}
    shell.type(render)
    (variables,) = blocks("variables")
    shell.type(variables)
    return shell


def test_the_flow_in_ones_terminal_renders_on_cloud_run(cluster: Shell, cloud: GrantedCloud):
    assert cloud.run.statistics()["calls"]["jobs.run"] >= 1


def as_owner(shell: Shell, deployment: str) -> dict[str, Verdict]:
    """What doctor says of all that there is, a deployment too, to the project's owner."""
    (look,) = [block for block in blocks("cluster") if block.startswith("GOOGLE_OAUTH_ACCESS")]
    command = look.replace(" doctor", f" --deployment {deployment} doctor")
    (looked,) = verdicts(shell.type(command))
    return looked


def change_scene(shell: Shell) -> None:
    """None of its frames comes from the cache then."""
    with (shell.folder / "examples" / "spiral" / "spiral.pov").open("a") as scene:
        scene.write(f"// {uuid4()}\n")


def type_with_job_id(shell: Shell, block: str) -> str:
    """Type a block in which JOB_ID is what its first command prints; it has to fetch 3 frames.

    Returns the job's id.
    """
    change_scene(shell)
    first, rest = re.split(r"\n(?=[^\n]*JOB_ID)", block, maxsplit=1)
    told = re.search(r"^job +(\S+)", shell.type(first), re.MULTILINE)
    assert told is not None
    shell.type(rest.replace("JOB_ID", told[1]))
    saved = shell.folder / "spiral_render"
    assert len(list(saved.glob("frames/*.png"))) == 3
    shutil.rmtree(saved)
    return told[1]


def assert_rendered(cloud: GrantedCloud, job_id: str) -> None:
    """All of the job's frames, by containers of the render jobs."""
    found = cloud.statistics_of(job_id)
    assert (found["frames_rendered"], found["frames_from_cache"]) == (3, 0)
    assert {each["host"].rpartition("-render-")[0] for each in found["frames"]} == {"povstorm"}


def resolved(
    client: PrefectClient, pool: str, deployment: str, login: Path | None = None
) -> tuple[CloudRunWorkerJobV2Configuration, dict[str, Any]]:
    """How a flow run of the deployment will be started, and the pool's template.

    login: the application default credentials of the worker that starts it.
    """

    async def read() -> tuple[CloudRunWorkerJobV2Configuration, dict[str, Any]]:
        async with client:
            found = await client.read_work_pool(pool)
            values = (await client.read_deployment_by_name(deployment)).job_variables
            return await CloudRunWorkerJobV2Configuration.from_template_and_values(
                base_job_template=found.base_job_template, values=values, client=client
            ), found.base_job_template

    with pytest.MonkeyPatch.context() as patch:
        if login is not None:
            patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(login))
        return asyncio.run(read())


def test_way_c_a_worker_on_ones_own_machine(shell: Shell):
    start, run = blocks("(c)")

    shell.type(start)
    type_with_job_id(shell, run)


def test_way_a_a_push_pool_starts_flows_by_the_key_in_its_block_alone(
    cluster: Shell, cloud: GrantedCloud, server: PrefectServer, tmp_path: Path
):
    pool, secret = blocks("(a)")
    (job,) = blocks("job")
    nightly, end = blocks("nightly")

    cluster.forget("PREFECT_API_URL")
    cluster.type(pool)
    cluster.type(secret, answer=f"{API_KEY}\n")

    configuration, template = resolved(
        PrefectClient(server.url), "povstorm-push", "render-job/cloud"
    )
    # Prefect Cloud stores what it is given, and can read nothing that lies here.
    assert "PRIVATE KEY" not in json.dumps(template)
    assert not list(cluster.folder.rglob("key.json"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        credentials = configuration.credentials.get_credentials_from_service_account()
        credentials.refresh(google.auth.transport.requests.Request())
    assert credentials.token == token_of(SUBMITTER)
    reference = configuration.prefect_api_key_secret.model_dump()
    assert reference == {"secret": "prefect-api-key", "version": "latest"}
    assert cloud.project.secret("prefect-api-key") == API_KEY
    # In Prefect Cloud's place: a worker that nobody has logged in to Google.
    nowhere = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path / "gcloud")}
    cluster.leave_running(
        f"prefect worker start --pool povstorm-push --type {CloudRunWorkerV2.type}", **nowhere
    )
    assert_rendered(cloud, type_with_job_id(cluster, job))
    assert not_ok(as_owner(cluster, "render-job/cloud")) == {}
    # Nothing runs at night before there is a scene.
    assert asyncio.run(deployment_names(PrefectClient(server.url), "povstorm-push")) == {"cloud"}

    before = cloud.jobs()
    change_scene(cluster)
    cluster.type(nightly)
    (of_tonight,) = cloud.jobs() - before
    assert_rendered(cloud, of_tonight)
    assert asyncio.run(schedules(PrefectClient(server.url), "render-scene/nightly-cloud")) == [
        ("0 2 * * *", "Europe/Berlin", True)
    ]

    cluster.type(end)
    assert asyncio.run(deployment_names(PrefectClient(server.url), "povstorm-push")) == {"cloud"}


async def deployment_names(client: PrefectClient, pool: str) -> set[str]:
    """Of the pool's deployments."""
    async with client:
        of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
        return {each.name for each in await client.read_deployments(work_pool_filter=of_pool)}


async def schedules(client: PrefectClient, deployment: str) -> list[tuple[str, str, bool]]:
    """When the deployment runs, where that is, and whether it does."""
    async with client:
        found = (await client.read_deployment_by_name(deployment)).schedules
    return [(each.schedule.cron, each.schedule.timezone, each.active) for each in found]


def job_of_way_b() -> str:
    (job,) = blocks("job")
    return job.replace("render-job/cloud ", "render-job/cloud-worker ")


def test_way_b_a_worker_that_makes_cloud_run_jobs(
    cluster: Shell, cloud: GrantedCloud, server: PrefectServer
):
    pool, worker = blocks("(b)")

    cluster.type(pool)
    login = cloud.credentials(OWNER, email_of(SUBMITTER))
    configuration, template = resolved(
        PrefectClient(server.url), "povstorm-cloud-run", "render-job/cloud-worker", login
    )
    # The worker's own login is used, and the server asks for none.
    assert not template["variables"]["properties"]["credentials"].get("default")
    assert configuration.prefect_api_auth_string_secret is None
    assert task_of(configuration)["serviceAccount"] == ORCHESTRATOR
    assert "vpcAccess" not in task_of(configuration)
    cluster.type(worker)
    assert_rendered(cloud, type_with_job_id(cluster, job_of_way_b()))


def task_of(configuration: CloudRunWorkerJobV2Configuration) -> dict[str, Any]:
    """The template of a flow run's Cloud Run task, as Prefect's worker sends it."""
    configuration.prepare_for_flow_run(FlowRun(id=uuid4(), flow_id=uuid4(), name="one"))
    task: dict[str, Any] = configuration.job_body["template"]["template"]
    return task


LOGIN = "povstorm-prefect-login"
# What doctor looks at where terraform has made it.
OF_THE_SERVER = {
    *("way to Prefect's server", "Prefect's login", "Prefect's records", "Prefect's database"),
    *("network of povstorm-cloud-run", "login of povstorm-cloud-run"),
}


@dataclass(frozen=True)
class OwnServer:
    """Terraform's Prefect server, which the page had it make; state: terraform's."""

    internal: PrefectServer
    login: str
    state: list[Resource]

    @property
    def client(self) -> PrefectClient:
        return PrefectClient(self.internal.url, auth_string=self.login)


@contextmanager
def terraforms_server(
    cloud: GrantedCloud, state: list[Resource], folder: Path
) -> Iterator[tuple[PrefectServer, str]]:
    """Started as the state says, by the words and login that it gives; and people's way to it."""
    database_is_local = ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_UI_API_URL")
    containers = {
        each.values["name"]: each.values["template"][0]["containers"][0]
        for each in state
        if each.type == "google_cloud_run_v2_service"
    }
    container = containers["povstorm-prefect-internal"]
    assert container["args"][:2] == ["server", "start"]
    address = ["--host", "0.0.0.0", "--port", "4200"]  # noqa: S104 - of a container
    options = [word for word in container["args"][2:] if word not in address]
    told, secret = variables_of(cloud, container)
    kept = {name: value for name, value in told.items() if name not in database_is_local}
    with prefect_server(folder, *options, **kept, **secret) as server:
        container = containers["povstorm-prefect"]
        port = free_port()
        _, secret = variables_of(cloud, container)
        variables = {"PORT": str(port), "PREFECT_SERVER": server.url.removesuffix("/api")}
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with subprocess.Popen(
            [*container["command"], *container["args"]],
            env={"PATH": programs, "HOME": str(folder), **variables, **secret},
            stderr=subprocess.DEVNULL,
        ) as way:
            try:
                wait_for_port(port, way, 400)
                yield server, f"http://127.0.0.1:{port}"
            finally:
                way.terminate()


def variables_of(
    cloud: GrantedCloud, container: dict[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """A container's variables in the state: with values, and out of Secret Manager."""
    given = {each["name"]: each["value"] for each in container["env"] if each["value"]}
    taken: dict[str, str] = {}
    for each in container["env"]:
        for source in each["value_source"]:
            value = cloud.project.secret(source["secret_key_ref"][0]["secret"])
            assert value is not None
            taken[each["name"]] = value
    return given, taken


@pytest.fixture(scope="module")
def own_server(
    cluster: Shell, cloud: GrantedCloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OwnServer]:
    """It is reached as the page says, by who types there; nothing has been done with it."""
    make, proxy, join, _, _ = blocks("own server")
    cluster.type(make)
    state = applied(cluster)
    with terraforms_server(cloud, state, tmp_path_factory.mktemp("own")) as (internal, people):
        services = {"povstorm-prefect": people}
        (cloud.folder / "services.json").write_text(json.dumps(services), encoding="utf-8")
        port = free_port()
        for place in ("--port ", "localhost:"):
            cluster.typed_instead[f"{place}4200"] = f"{place}{port}"
        cluster.type(proxy)
        wait_for_port(port, None, 400)
        cluster.type(join)
        login = cloud.project.secret(LOGIN)
        assert login is not None
        yield OwnServer(internal, login, state)


def test_no_other_page_in_a_person_s_browser_may_use_the_server(
    cluster: Shell, own_server: OwnServer
):
    by_proxy = cluster.type("printenv PREFECT_API_URL").strip()
    own, another = "http://localhost:4200", "https://another.example"
    asks_first = {"Access-Control-Request-Method": "POST"}

    def asked(url: str, verb: str, **headers: str) -> tuple[int, str | None]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = requests.request(verb, f"{url}/flows/filter", headers=names, timeout=60)
        return answer.status_code, answer.headers.get("Access-Control-Allow-Origin")

    assert asked(by_proxy, "OPTIONS", Origin=own, **asks_first) == (200, own)
    assert asked(by_proxy, "POST", Origin=own) == (200, own)
    for origin in (another, "http://localhost:4201", "null"):
        assert asked(by_proxy, "OPTIONS", Origin=origin, **asks_first) == (403, None)
        assert asked(by_proxy, "POST", Origin=origin) == (403, None)
    # A page whose name leads to this machine.
    version = f"{by_proxy}/admin/version"
    browser = {"Accept-Language": "en"}
    assert requests.get(version, headers=browser, timeout=60).status_code == 403
    browser |= {"Sec-Fetch-Site": "same-origin"}
    assert requests.get(version, headers=browser, timeout=60).status_code == 200
    # What asks for the login by itself has no page but its own read either.
    refused = asked(own_server.internal.url, "OPTIONS", Origin=another, **asks_first)
    assert refused == (400, None)


FLOW_OF_TWO_TASKS = """
from prefect import flow, task

@task
def twice(number):
    return 2 * number

@flow(name="two-tasks")
def two_tasks():
    return twice(1), twice(2)

two_tasks()
"""


def test_task_runs_that_people_tell_of_by_the_proxy_are_recorded(
    cluster: Shell, own_server: OwnServer
):
    program = cluster.folder / "two_tasks.py"
    program.write_text(FLOW_OF_TWO_TASKS, encoding="utf-8")

    cluster.type(f"python {program}")

    states = asyncio.run(ended_task_runs(own_server.client, "two-tasks", 2))
    assert states == {"Completed"}


async def pool_that_a_worker_made(client: PrefectClient, name: str) -> dict[str, Any]:
    """The template of a pool, as soon as there is one of that name and it has been given one."""
    async with client, asyncio.timeout(400):
        while True:
            with contextlib.suppress(ObjectNotFound):
                template = (await client.read_work_pool(name)).base_job_template
                if template.get("variables"):
                    return template
            await asyncio.sleep(0.2)


async def ended_task_runs(client: PrefectClient, flow: str, count: int) -> set[str]:
    """The states of the task runs of a flow, once as many are recorded as ended."""
    async with client, asyncio.timeout(400):
        while True:
            named = FlowFilter(name=FlowFilterName(any_=[flow]))
            runs = await client.read_task_runs(flow_filter=named)
            ended = [run.state_name for run in runs if run.state and run.state.is_final()]
            if len(ended) == count:
                return {str(name) for name in ended}
            await asyncio.sleep(0.2)


def test_way_b_with_terraforms_own_server(
    cluster: Shell, cloud: GrantedCloud, own_server: OwnServer, tmp_path: Path
):
    state = own_server.state
    _, _, _, pool, remove = blocks("own server")
    (worker,) = [each for each in state if each.type == "google_cloud_run_v2_worker_pool"]
    container = worker.values["template"][0]["containers"][0]
    (network,) = [each for each in state if each.type == "google_compute_network"]
    (subnetwork,) = [each for each in state if each.type == "google_compute_subnetwork"]

    given, taken = variables_of(cloud, container)
    assert set(given) == {"PREFECT_API_URL"}
    assert taken == {"PREFECT_API_AUTH_STRING": own_server.login}
    account = worker.values["template"][0]["service_account"]
    assert f"serviceAccount:{account}" == SUBMITTER
    cluster.leave_running(
        shlex.join([*container["command"], *container["args"]]),
        HOME=str(tmp_path),
        PREFECT_HOME=str(tmp_path / ".prefect"),
        GOOGLE_CLOUD_PROJECT=PROJECT,
        PREFECT_API_URL=own_server.internal.url,
        **taken,
        **cloud.project.environment_of(account),
    )
    # It is there first, as after terraform's apply: its pool is one that flows cannot use.
    made = asyncio.run(pool_that_a_worker_made(own_server.client, "povstorm-cloud-run"))
    assert "povstorm" not in json.dumps(made)

    cluster.type(pool)

    configuration, template = resolved(
        own_server.client,
        "povstorm-cloud-run",
        "render-job/cloud-worker",
        cloud.credentials(OWNER, email_of(SUBMITTER)),
    )
    task = task_of(configuration)
    (joined,) = task["vpcAccess"]["networkInterfaces"]
    assert joined == {
        "network": network.values["name"],
        "subnetwork": subnetwork.values["name"],
    }
    # The server's address is a public one, which only what comes by the network may ask.
    assert task["vpcAccess"]["egress"] == "ALL_TRAFFIC"
    assert task["serviceAccount"] == ORCHESTRATOR
    reference = configuration.prefect_api_auth_string_secret
    assert reference is not None
    assert reference.model_dump() == {"secret": LOGIN, "version": "latest"}
    login = own_server.login
    assert login not in json.dumps(template)
    # Nobody talks to the internal server without the login.
    assert requests.get(f"{own_server.internal.url}/admin/version", timeout=60).status_code == 401

    assert_rendered(cloud, type_with_job_id(cluster, job_of_way_b()))
    looked = as_owner(cluster, "render-job/cloud-worker")
    assert not_ok(looked) == {}
    assert set(looked) > OF_THE_SERVER

    cluster.type(remove)
    left = {each.type for each in applied(cluster)}
    assert not {kind for kind in left if "sql" in kind or "service_iam" in kind}
    assert "google_cloud_run_v2_service" not in left
    assert cloud.project.secret(LOGIN) is None


def test_whoever_is_logged_in_terraform_runs_as_the_owner(cluster: Shell, cloud: GrantedCloud):
    cluster.type("tf apply")
    ran_as = (cloud.folder / RAN_AS).read_text(encoding="utf-8").split()
    assert set(ran_as) == {OWNER}

    # The login is another's, who may change nothing.
    refused = cluster.type("! terraform -chdir=terraform plan")
    assert "povstorm-orchestrator@" in refused
    assert "lacks 'resourcemanager.projects.setIamPolicy'" in refused
