"""The stand-in for the Cloud Run Admin API, as Google's own clients see it."""

from __future__ import annotations

import asyncio
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
from google.cloud.run_v2.services.executions.transports import (
    ExecutionsGrpcAsyncIOTransport,
    ExecutionsGrpcTransport,
)
from google.cloud.run_v2.services.jobs.transports import (
    JobsGrpcAsyncIOTransport,
    JobsGrpcTransport,
)
from google.cloud.run_v2.services.tasks.transports import (
    TasksGrpcAsyncIOTransport,
    TasksGrpcTransport,
)
from google.longrunning import operations_pb2

from tests.emulators.cloud_run.server import PROJECT, REGION, CloudRunServer

PARENT = f"projects/{PROJECT}/locations/{REGION}"
# What a container runs here: its argument is a program.
SHELL = (sys.executable, "-c", "import sys; exec(sys.argv[1])")
QUICK, FAILING = "pass", "raise SystemExit(3)"
ENDLESS = "import time; time.sleep(600)"
Overrides = run_v2.RunJobRequest.Overrides


@pytest.fixture(scope="module")
def server() -> Iterator[CloudRunServer]:
    with CloudRunServer(
        SHELL,
        grpc=True,
        run_calls_per_minute=10_000,
        read_calls_per_minute=1_000_000,
        write_calls_per_minute=10_000,
    ) as server:
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
    results = []
    for _ in range(2):
        execution = clients.ended(clients.run(job, "raise SystemExit(137)"))
        (task,) = clients.tasks.list_tasks(parent=execution.name)
        results.append(task.last_attempt_result)

    # Google names no exit code then; whether it names the signal, nobody has said.
    assert sorted((result.exit_code, result.term_signal) for result in results) == [(0, 0), (0, 9)]
    for result in results:
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


def test_the_refusal_of_a_call_beyond_the_quota_says_which(server: CloudRunServer, job: str):
    server.set_knobs(refuse_runs=1)

    answer = requests.post(f"{server.rest_url}/v2/{job}:run", json={}, timeout=30)

    assert answer.status_code == 429
    error = answer.json()["error"]
    assert error["status"] == "RESOURCE_EXHAUSTED"
    assert error["message"] == (
        "Quota exceeded for quota metric 'Job run requests' and limit 'Job run requests per minute "
        f"per region' of service 'run.googleapis.com' for consumer 'projects/{PROJECT}'."
    )
    (detail,) = error["details"]
    assert detail["reason"] == "RATE_LIMIT_EXCEEDED"
    assert detail["metadata"]["quota_location"] == REGION


def test_refusals_have_their_details_over_both_transports(
    server: CloudRunServer, clients: Clients, job: str
):
    server.set_knobs(refuse_runs=1)
    with pytest.raises(exceptions.TooManyRequests) as refused:
        clients.run(job, QUICK)
    with pytest.raises(exceptions.BadRequest) as wrong:
        clients.run(job, QUICK, task_count=10_001)

    assert refused.value.reason == "RATE_LIMIT_EXCEEDED"
    # A message over gRPC, JSON over REST.
    (violations,) = wrong.value.details
    assert "overrides.taskCount" in str(violations)


def test_any_call_can_be_refused_or_fail(server: CloudRunServer, clients: Clients, job: str):
    server.set_knobs(refuse_calls=1)
    with pytest.raises(exceptions.TooManyRequests, match="Read requests"):
        clients.jobs.get_job(name=job, retry=None)
    server.set_knobs(fail_calls=1)
    with pytest.raises(exceptions.ServiceUnavailable):
        clients.jobs.get_job(name=job, retry=None)
    assert clients.jobs.get_job(name=job).name == job


def test_permissions_can_be_asked_for_and_denied(
    server: CloudRunServer, clients: Clients, job: str
):
    asked = {"resource": job, "permissions": ["run.jobs.get", "run.jobs.run"]}
    assert list(clients.jobs.test_iam_permissions(asked).permissions) == asked["permissions"]

    server.set_knobs(denied_permissions=["run.jobs.run"])
    try:
        assert list(clients.jobs.test_iam_permissions(asked).permissions) == ["run.jobs.get"]
        with pytest.raises(exceptions.Forbidden, match=r"Permission 'run\.jobs\.run' denied"):
            clients.run(job, QUICK)
    finally:
        server.set_knobs(denied_permissions=[])
    missing = {**asked, "resource": f"{PARENT}/jobs/missing"}
    assert list(clients.jobs.test_iam_permissions(missing).permissions) == []


def test_a_stale_etag_is_a_conflict(clients: Clients, job: str):
    stale = clients.jobs.get_job(name=job)
    changed = clients.jobs.get_job(name=job)
    changed.template.task_count = 5
    clients.jobs.update_job(job=changed).result(timeout=30)
    stale.template.task_count = 7

    with pytest.raises(exceptions.Conflict):
        clients.jobs.update_job(job=stale)
    assert clients.jobs.get_job(name=job).template.task_count == 5
    assert clients.jobs.get_job(name=job).generation == 2


def test_a_job_that_is_missing_can_be_made_by_an_update_that_allows_it(clients: Clients, job: str):
    wanted = run_v2.Job(clients.jobs.get_job(name=job))
    wanted.name, wanted.etag = f"{job}-more", ""

    with pytest.raises(exceptions.NotFound):
        clients.jobs.update_job(job=wanted)
    request = run_v2.UpdateJobRequest(job=wanted, allow_missing=True)
    assert clients.jobs.update_job(request).result(timeout=30).name == wanted.name


def test_what_is_only_validated_changes_nothing(clients: Clients, job: str):
    request = run_v2.RunJobRequest(name=job, validate_only=True)
    assert clients.jobs.run_job(request).metadata.task_count == 1
    assert list(clients.executions.list_executions(parent=job)) == []

    clients.jobs.delete_job(run_v2.DeleteJobRequest(name=job, validate_only=True))
    assert clients.jobs.get_job(name=job).name == job


def test_an_operation_is_done_only_when_its_execution_is(clients: Clients, job: str):
    operation = clients.start(job, "import time; time.sleep(0.5)")

    assert not operation.done()
    assert operation.metadata.reconciling
    started = {each.type_: each.message for each in operation.metadata.conditions}
    assert started["Completed"] == "Waiting for execution to complete."
    done = operation.result(timeout=30)
    assert not done.reconciling
    ended = {each.type_: each.message for each in done.conditions}
    assert ended["ResourcesAvailable"] == "Provisioned imported containers."
    assert ended["Started"].startswith("Started deployed execution in ")
    assert ended["Completed"].startswith("Execution completed successfully in ")


def test_the_operation_of_a_failed_execution_raises_its_words(clients: Clients, job: str):
    operation = clients.start(job, FAILING)

    with pytest.raises(exceptions.GoogleAPICallError, match="failed with exit code: 3"):
        operation.result(timeout=30)


def test_the_operation_of_a_cancelled_execution_is_no_error(clients: Clients, job: str):
    operation = clients.start(job, ENDLESS)
    clients.executions.cancel_execution(name=operation.metadata.name)

    assert operation.result(timeout=30).cancelled_count == 1


def test_operations_are_listed_waited_for_and_forgotten(clients: Clients, job: str):
    operation = clients.start(job, "import time; time.sleep(0.3)").operation

    waited = clients.jobs.wait_operation({"name": operation.name, "timeout": {"seconds": 30}})
    if isinstance(waited, bytes):  # google-cloud-run 0.16 does not parse it over gRPC
        waited = operations_pb2.Operation.FromString(waited)
    assert waited.done
    if isinstance(clients.jobs.transport, JobsGrpcTransport):
        listed = clients.jobs.list_operations({"name": PARENT})
        assert listed.operations
    clients.jobs.delete_operation({"name": operation.name})
    with pytest.raises(exceptions.NotFound, match="OPERATION"):
        clients.jobs.get_operation({"name": operation.name})


def test_executions_and_tasks_of_all_jobs_are_listed_by_a_dash(
    server: CloudRunServer, clients: Clients, job: str
):
    other = server.create_job(f"other-{time.time_ns() % 10**12}")
    names = {clients.run(each, QUICK).name for each in (job, other)}

    found = {each.name for each in clients.executions.list_executions(parent=f"{PARENT}/jobs/-")}
    tasks = clients.tasks.list_tasks(parent=f"{PARENT}/jobs/-/executions/-")
    assert names <= found
    assert names <= {task.name.rpartition("/tasks/")[0] for task in tasks}


def test_a_deleted_execution_is_gone(clients: Clients, job: str):
    execution = clients.run(job, ENDLESS)

    clients.executions.delete_execution(name=execution.name).result(timeout=30)

    with pytest.raises(exceptions.NotFound, match="of kind 'EXECUTION'"):
        clients.executions.get_execution(name=execution.name)


def test_arguments_can_be_cleared_and_variables_are_merged(server: CloudRunServer, tmp_path):
    program = (
        "import os, pathlib; e = os.environ; "
        f"pathlib.Path({str(tmp_path / 'out')!r}).write_text(e['A'] + e['B'] + e['C'])"
    )
    variables = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    container = {"image": "x", "args": [program], "env": variables}
    job = server.create_job(f"merged-{time.time_ns() % 10**12}", containers=[container])
    clients = Clients(server, "rest")
    changed = Overrides.ContainerOverride(
        env=[run_v2.EnvVar(name="B", value="3"), run_v2.EnvVar(name="C", value="4")]
    )
    cleared = Overrides.ContainerOverride(clear_args=True)

    for override in (changed, cleared):
        request = run_v2.RunJobRequest(
            name=job, overrides=Overrides(container_overrides=[override])
        )
        execution = clients.ended(clients.jobs.run_job(request).metadata)

    assert (tmp_path / "out").read_text() == "134"
    assert list(execution.template.containers[0].args) == []
    assert execution.failed_count == 1


async def _with_the_asynchronous_clients(target: str, job: str) -> tuple[Any, Any, Any]:
    async with grpc.aio.insecure_channel(target) as channel:
        jobs = run_v2.JobsAsyncClient(transport=JobsGrpcAsyncIOTransport(channel=channel))
        executions = run_v2.ExecutionsAsyncClient(
            transport=ExecutionsGrpcAsyncIOTransport(channel=channel)
        )
        tasks = run_v2.TasksAsyncClient(transport=TasksGrpcAsyncIOTransport(channel=channel))
        container = Overrides.ContainerOverride(args=[QUICK])
        request = run_v2.RunJobRequest(
            name=job, overrides=Overrides(container_overrides=[container], task_count=2)
        )
        execution = await (await jobs.run_job(request)).result(timeout=30)
        listed = [each async for each in await executions.list_executions(parent=job)]
        found = [each async for each in await tasks.list_tasks(parent=execution.name)]
        return execution, listed, found


def test_the_asynchronous_clients_run_a_job_over_grpc(server: CloudRunServer, job: str):
    execution, listed, tasks = asyncio.run(_with_the_asynchronous_clients(server.grpc_target, job))

    assert execution.succeeded_count == 2
    assert [each.name for each in listed] == [execution.name]
    assert sorted(task.index for task in tasks) == [0, 1]


def test_enums_are_numbers_where_the_client_asks_for_them(server: CloudRunServer, job: str):
    url = f"{server.rest_url}/v2/{job}"

    as_names = requests.get(url, timeout=30).json()
    as_numbers = requests.get(url, params={"$alt": "json;enum-encoding=int"}, timeout=30).json()

    assert as_names["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
    assert as_numbers["terminalCondition"]["state"] == 4
    assert as_numbers["launchStage"] == 4


def test_calls_and_costs_are_counted():
    with CloudRunServer(SHELL) as server:
        clients, job = Clients(server, "rest"), server.create_job("counted")
        clients.ended(clients.run(job, QUICK, task_count=2))
        statistics = server.statistics()

    assert statistics["calls"]["jobs.run"] == 1
    assert statistics["calls"]["executions.get"] >= 1
    assert statistics["instances"] == 2
    assert statistics["billed_seconds"] == statistics["vcpu_seconds"] == 120
    assert statistics["gib_seconds"] == 60


def test_a_knob_that_is_not_there_is_refused(server: CloudRunServer):
    with pytest.raises(requests.HTTPError, match="400"):
        server.set_knobs(nothing=1)


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
