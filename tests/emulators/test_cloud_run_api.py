"""The stand-in for the Cloud Run Admin API, as Google's own clients see it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import google.auth.credentials
import googleapiclient.discovery
import googleapiclient.errors
import grpc
import pytest
import requests
from google.api_core import exceptions
from google.cloud import run_v2
from google.cloud.run_v2.services.executions.transports import ExecutionsGrpcTransport
from google.cloud.run_v2.services.jobs.transports import JobsGrpcTransport
from google.cloud.run_v2.services.tasks.transports import TasksGrpcTransport
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.emulators.cloud_run.server import PROJECT, REGION, CloudRunServer

PARENT = f"projects/{PROJECT}/locations/{REGION}"
# What a container runs here: its argument is a program.
SHELL = (sys.executable, "-c", "import sys; exec(sys.argv[1])")
QUICK, FAILING = "pass", "raise SystemExit(3)"
ENDLESS = "import time; time.sleep(600)"
Overrides = run_v2.RunJobRequest.Overrides


@pytest.fixture(scope="module")
def server() -> Iterator[CloudRunServer]:
    with CloudRunServer(SHELL, run_calls_per_minute=10_000) as server:
        yield server


class Clients:
    """google-cloud-run's clients over one transport."""

    def __init__(self, server: CloudRunServer, transport: str) -> None:
        if transport == "rest":
            options: dict[str, Any] = {
                "transport": "rest",
                "credentials": google.auth.credentials.AnonymousCredentials(),
                "client_options": {"api_endpoint": server.rest_url},
            }
            self.jobs = run_v2.JobsClient(**options)
            self.executions = run_v2.ExecutionsClient(**options)
            self.tasks = run_v2.TasksClient(**options)
        else:
            channel = grpc.insecure_channel(server.grpc_target)
            self.jobs = run_v2.JobsClient(transport=JobsGrpcTransport(channel=channel))
            self.executions = run_v2.ExecutionsClient(
                transport=ExecutionsGrpcTransport(channel=channel)
            )
            self.tasks = run_v2.TasksClient(transport=TasksGrpcTransport(channel=channel))

    def run(self, job: str, program: str, **overrides: Any) -> run_v2.Execution:
        """Start the program in a container; returns the execution as it is at its start."""
        return self.start(job, program, **overrides).metadata

    def start(self, job: str, program: str, **overrides: Any) -> Any:
        container = Overrides.ContainerOverride(args=[program])
        request = run_v2.RunJobRequest(
            name=job, overrides=Overrides(container_overrides=[container], **overrides)
        )
        return self.jobs.run_job(request, retry=None, timeout=30)

    def ended(self, execution: run_v2.Execution) -> run_v2.Execution:
        deadline = time.monotonic() + 60
        while not (found := self.executions.get_execution(name=execution.name)).completion_time:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return found


@pytest.fixture(params=["rest", "grpc"])
def clients(request: pytest.FixtureRequest, server: CloudRunServer) -> Clients:
    return Clients(server, request.param)


@pytest.fixture
def job(server: CloudRunServer, request: pytest.FixtureRequest) -> str:
    return server.create_job(f"job-{abs(hash(request.node.name)) % 10**9}-{time.time_ns() % 10**9}")


def completed(resource: Any) -> run_v2.Condition:
    return next(each for each in resource.conditions if each.type_ == "Completed")


def test_a_job_is_made_read_listed_and_deleted(clients: Clients):
    name = f"made-{time.time_ns() % 10**12}"
    made = clients.jobs.create_job(
        parent=PARENT,
        job_id=name,
        job=run_v2.Job(
            template=run_v2.ExecutionTemplate(
                template=run_v2.TaskTemplate(
                    containers=[run_v2.Container(image="render:1")], max_retries=2
                )
            )
        ),
    ).result(timeout=30)

    assert made.name == f"{PARENT}/jobs/{name}"
    assert made.template.template.max_retries == 2
    assert clients.jobs.get_job(name=made.name) == made
    assert made.name in [each.name for each in clients.jobs.list_jobs(parent=PARENT)]
    clients.jobs.delete_job(name=made.name).result(timeout=30)
    with pytest.raises(exceptions.NotFound):
        clients.jobs.get_job(name=made.name)


def test_an_execution_runs_its_tasks_with_their_variables(clients: Clients, job: str, tmp_path):
    program = (
        "import os, pathlib; e = os.environ; "
        f"pathlib.Path({str(tmp_path)!r}, e['CLOUD_RUN_TASK_INDEX']).write_text("
        "' '.join([e['CLOUD_RUN_TASK_COUNT'], e['CLOUD_RUN_TASK_ATTEMPT'], "
        "e['CLOUD_RUN_EXECUTION'], e['CLOUD_RUN_JOB'], e['OWN']]))"
    )
    container = Overrides.ContainerOverride(
        args=[program], env=[run_v2.EnvVar(name="OWN", value="mine")]
    )
    request = run_v2.RunJobRequest(
        name=job, overrides=Overrides(container_overrides=[container], task_count=3)
    )
    operation = clients.jobs.run_job(request, retry=None)

    execution = operation.result(timeout=60)

    assert execution.task_count == execution.succeeded_count == 3
    assert completed(execution).state == run_v2.Condition.State.CONDITION_SUCCEEDED
    short, short_job = execution.name.rpartition("/")[2], job.rpartition("/")[2]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        str(index): f"3 0 {short} {short_job} mine" for index in range(3)
    }
    tasks = list(clients.tasks.list_tasks(parent=execution.name))
    assert sorted(task.index for task in tasks) == [0, 1, 2]
    assert clients.tasks.get_task(name=tasks[0].name) == tasks[0]


def test_a_failed_task_has_its_exit_code_after_all_its_retries(
    clients: Clients, server: CloudRunServer, tmp_path
):
    job = server.create_job(f"retried-{time.time_ns() % 10**12}", maxRetries=2)
    program = (
        "import os, pathlib; "
        f"pathlib.Path({str(tmp_path)!r}, os.environ['CLOUD_RUN_TASK_ATTEMPT']).touch(); "
        "raise SystemExit(3)"
    )

    execution = clients.ended(clients.run(job, program))

    # Retried tasks are counted, not their retries.
    assert (execution.failed_count, execution.retried_count) == (1, 1)
    assert completed(execution).state == run_v2.Condition.State.CONDITION_FAILED
    assert completed(execution).message.endswith(
        "-task0 failed with exit code: 3 and message: The container exited with an error."
    )
    (task,) = clients.tasks.list_tasks(parent=execution.name)
    assert (task.retried, task.last_attempt_result.exit_code) == (2, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def test_exit_137_is_told_as_memory(clients: Clients, job: str):
    execution = clients.ended(clients.run(job, "raise SystemExit(137)"))

    (task,) = clients.tasks.list_tasks(parent=execution.name)
    result = task.last_attempt_result
    # Google names no exit code then.
    assert (result.exit_code, result.term_signal) == (0, 9)
    assert result.status.message == "The configured memory limit was reached."


def test_a_task_that_takes_too_long_is_stopped(clients: Clients, job: str):
    execution = clients.ended(clients.run(job, ENDLESS, timeout={"seconds": 1}))

    (task,) = clients.tasks.list_tasks(parent=execution.name)
    assert "timeout" in task.last_attempt_result.status.message


def test_an_execution_can_be_cancelled_once(clients: Clients, job: str):
    execution = clients.run(job, ENDLESS, task_count=2)
    clients.executions.cancel_execution(name=execution.name)

    ended = clients.ended(execution)

    assert ended.cancelled_count == 2
    assert completed(ended).execution_reason == run_v2.Condition.ExecutionReason.CANCELLED
    with pytest.raises(exceptions.BadRequest):
        clients.executions.cancel_execution(name=execution.name)


def test_executions_are_listed_in_pages_the_newest_first(clients: Clients, job: str):
    names = [clients.run(job, QUICK).name for _ in range(5)]

    request = run_v2.ListExecutionsRequest(parent=job, page_size=2)
    pages = list(clients.executions.list_executions(request).pages)

    assert [len(page.executions) for page in pages] == [2, 2, 1]
    assert [each.name for page in pages for each in page.executions] == names[::-1]


def test_a_jobs_parallelism_bounds_its_tasks(server: CloudRunServer, clients: Clients):
    job = server.create_job(f"two-{time.time_ns() % 10**12}")
    found = clients.jobs.get_job(name=job)
    found.template.parallelism = 1
    clients.jobs.update_job(job=found).result(timeout=30)

    execution = clients.run(job, "import time; time.sleep(0.4)", task_count=3)
    seen = set()
    while not (state := clients.executions.get_execution(name=execution.name)).completion_time:
        seen.add(state.running_count)
    assert max(seen) == 1


@pytest.mark.parametrize(
    ("knobs", "error"),
    [
        ({"refuse_runs": 1}, exceptions.TooManyRequests),
        ({"fail_runs": 1}, exceptions.ServiceUnavailable),
    ],
)
def test_faults_are_delivered_once_and_start_nothing(
    server: CloudRunServer, clients: Clients, job: str, knobs: dict[str, int], error: type
):
    server.set_knobs(**knobs)

    with pytest.raises(error):
        clients.run(job, QUICK)
    assert list(clients.executions.list_executions(parent=job)) == []
    assert clients.run(job, QUICK)


def test_an_answer_can_be_lost_after_the_run_was_accepted(
    server: CloudRunServer, clients: Clients, job: str
):
    server.set_knobs(lose_answers=1)

    with pytest.raises(exceptions.ServiceUnavailable):
        clients.run(job, QUICK)

    (execution,) = clients.executions.list_executions(parent=job)
    assert list(execution.template.containers[0].args) == [QUICK]


def test_the_quota_of_run_calls_is_that_of_a_minute():
    with CloudRunServer(SHELL, run_calls_per_minute=2) as server:
        clients, job = Clients(server, "rest"), server.create_job("quick")
        clients.run(job, QUICK)
        clients.run(job, QUICK)
        with pytest.raises(exceptions.TooManyRequests, match="per minute"):
            clients.run(job, QUICK)


def test_a_lost_container_ends_its_task_by_a_signal():
    with CloudRunServer(SHELL, kill_probability=1.0, kill_after_seconds=0.2) as server:
        clients, job = Clients(server, "rest"), server.create_job("lost")
        execution = clients.ended(clients.run(job, ENDLESS))
        (task,) = clients.tasks.list_tasks(parent=execution.name)
        assert task.last_attempt_result.term_signal == 9


def test_a_server_that_stops_leaves_no_process(tmp_path):
    marker = tmp_path / "pid"
    program = (
        f"import os, time; open({str(marker)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )
    with CloudRunServer(SHELL) as server:
        Clients(server, "rest").run(server.create_job("left"), program)
        while not marker.exists() or not marker.read_text():
            time.sleep(0.05)

    with pytest.raises(ProcessLookupError):
        os.kill(int(marker.read_text()), 0)


def test_googles_discovery_client_runs_a_job(server: CloudRunServer, job: str):
    api = googleapiclient.discovery.build(
        "run",
        "v2",
        client_options={"api_endpoint": server.rest_url},
        credentials=google.auth.credentials.AnonymousCredentials(),
        static_discovery=True,
    )
    jobs = api.projects().locations().jobs()

    body = {"overrides": {"taskCount": 2, "containerOverrides": [{"args": [QUICK]}]}}
    operation = jobs.run(name=job, body=body).execute()
    name = operation["metadata"]["name"]
    while not (execution := jobs.executions().get(name=name).execute()).get("completionTime"):
        time.sleep(0.05)

    assert execution["succeededCount"] == 2
    assert jobs.executions().list(parent=job).execute()["executions"][0] == execution
    tasks = jobs.executions().tasks().list(parent=name).execute()["tasks"]
    assert len(tasks) == 2
    with pytest.raises(googleapiclient.errors.HttpError, match="Unknown name"):
        jobs.run(name=job, body={"overrides": {"memory": "4Gi"}}).execute()


def post(server: CloudRunServer, path: str, body: Any, **query: str) -> requests.Response:
    return requests.post(f"{server.rest_url}/v2/{path}", json=body, params=query, timeout=30)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"override": {}}, 'Unknown name "override"'),
        ({"overrides": {"labels": {"a": "b"}}}, 'Unknown name "labels"'),
        ({"overrides": {"containerOverrides": [{"image": "x"}]}}, 'Unknown name "image"'),
        ({"overrides": {"taskCount": "three"}}, "overrides.taskCount"),
        ({"overrides": {"taskCount": 10001}}, "overrides.taskCount: 10001"),
        ({"overrides": {"timeout": 600}}, "overrides.timeout"),
        ({"overrides": {"timeout": "ten minutes"}}, "overrides.timeout"),
        ({"overrides": {"containerOverrides": {"args": []}}}, "containerOverrides"),
        ({"overrides": {"containerOverrides": [{"args": [1]}]}}, "args[0]"),
        ({"overrides": {"containerOverrides": [{"name": "other", "args": []}]}}, "other"),
    ],
)
def test_what_the_api_does_not_know_is_refused(
    server: CloudRunServer, job: str, body: Any, words: str
):
    answer = post(server, f"{job}:run", body)

    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("job_id", "limits", "words"),
    [
        ("Upper", {}, "job id"),
        ("a" * 50, {}, "job id"),
        ("fine-1", {"memory": "2 GB"}, "memory"),
        ("fine-2", {"memory": "64Gi", "cpu": "8"}, "between 4Gi and 32Gi"),
        ("fine-3", {"memory": "8Gi", "cpu": "1"}, "For 1.0 CPU"),
        ("fine-4", {"cpu": "3"}, "specified for cpu"),
    ],
)
def test_jobs_that_cloud_run_refuses_are_refused(
    server: CloudRunServer, job_id: str, limits: dict[str, str], words: str
):
    container = {"image": "x", "resources": {"limits": limits}}
    body = {"template": {"template": {"containers": [container]}}}

    answer = post(server, f"{PARENT}/jobs", body, jobId=job_id)

    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12), data=st.data())
def test_an_unknown_field_is_refused_wherever_it_stands(
    server: CloudRunServer, job: str, name: str, data: st.DataObject
):
    field = f"x{name}"
    body = {"overrides": {"containerOverrides": [{"args": ["pass"], "env": [{"name": "A"}]}]}}
    places = [
        body,
        body["overrides"],
        body["overrides"]["containerOverrides"][0],
        body["overrides"]["containerOverrides"][0]["env"][0],
    ]
    data.draw(st.sampled_from(places))[field] = 1

    answer = post(server, f"{job}:run", body)

    assert answer.status_code == 400
    assert f'Unknown name "{field}"' in answer.json()["error"]["message"]


def test_other_paths_and_queries_are_unknown(server: CloudRunServer, job: str):
    assert requests.get(f"{server.rest_url}/v2/{job}/nothing", timeout=30).status_code == 404
    answer = requests.get(f"{server.rest_url}/v2/{job}", params={"color": "red"}, timeout=30)
    assert answer.status_code == 400
