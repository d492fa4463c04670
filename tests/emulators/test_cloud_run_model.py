"""The core of the Cloud Run stand-in, with simulated containers in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from benchmarks.virtual_time import run_in_virtual_time
from tests.emulators.cloud_run.api_error import ApiError
from tests.emulators.cloud_run.containers import ContainerEnd, ContainerSpec
from tests.emulators.cloud_run.knobs import Knobs
from tests.emulators.cloud_run.model import CloudRunModel
from tests.emulators.cloud_run.simulated_containers import Behaviour, SimulatedContainers

T = TypeVar("T")
WHERE = "projects/test-project/locations/europe-west1"
ELSEWHERE = "projects/test-project/locations/us-central1"


def taking(seconds: float, exit_code: int = 0) -> Behaviour:
    async def behaviour(spec: ContainerSpec) -> ContainerEnd:
        await asyncio.sleep(seconds)
        return ContainerEnd(exit_code=exit_code)

    return behaviour


_models: list[CloudRunModel] = []


def virtually(work: Coroutine[Any, Any, T]) -> T:
    async def to_the_end() -> T:
        try:
            return await work
        finally:
            while _models:
                await _models.pop().close()

    return run_in_virtual_time(to_the_end())[0]


def model_of(behaviour: Behaviour, **knobs: Any) -> CloudRunModel:
    """A model whose Unix time is the loop's, so that times can be reckoned with."""
    model_knobs = Knobs()
    model_knobs.change(knobs)
    loop = asyncio.get_running_loop()
    _models.append(CloudRunModel(SimulatedContainers(behaviour), model_knobs, now=loop.time))
    return _models[-1]


def make_job(model: CloudRunModel, name: str = "job", where: str = WHERE, **task: Any) -> str:
    template = task.pop("template", {})
    container = {"image": "x", "resources": {"limits": {"cpu": "2", "memory": "4Gi"}}}
    task = {"containers": [container], "maxRetries": 0, **task}
    model.create_job(where, name, {"template": {"template": task, **template}}, False)
    return f"{where}/jobs/{name}"


def start(model: CloudRunModel, job: str, **overrides: Any) -> tuple[str, str]:
    """The names of the operation and of the execution."""
    operation = model.run_job(job, {"overrides": overrides})
    return operation["name"], operation["metadata"]["name"]


async def run(model: CloudRunModel, job: str, **overrides: Any) -> dict[str, Any]:
    """Run to the end; the execution."""
    operation, execution = start(model, job, **overrides)
    done = await model.wait_operation(operation, 1e6)
    assert done["done"]
    return model.get_execution(execution)


def completed(resource: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in resource["conditions"] if each["type"] == "Completed")


def test_an_execution_takes_its_start_up_and_its_longest_tasks():
    async def work() -> tuple[dict[str, Any], float]:
        model = model_of(taking(10), startup_seconds=5.0)
        return await run(model, make_job(model), taskCount=3), model.bill.ran_seconds

    execution, seconds = virtually(work())

    assert execution["succeededCount"] == 3
    assert execution["createTime"] == "1970-01-01T00:00:00.000000Z"
    assert execution["completionTime"] == "1970-01-01T00:00:15.000000Z"
    assert completed(execution)["message"] == "Execution completed successfully in 15s."
    assert seconds == 45


def test_parallelism_bounds_an_execution_and_the_region_all_of_them():
    async def work() -> list[float]:
        model = model_of(taking(10), parallel_tasks=4)
        two = make_job(model, "two", template={"parallelism": 2})
        four = make_job(model, "four")
        loop, ends = asyncio.get_running_loop(), []
        await run(model, two, taskCount=4)
        ends.append(loop.time())
        await asyncio.gather(*(run(model, four, taskCount=4) for _ in range(3)))
        ends.append(loop.time())
        return ends

    assert virtually(work()) == [20, 50]


def test_tasks_that_a_limit_held_back_go_on_when_it_is_raised():
    async def work() -> float:
        model = model_of(taking(10), parallel_tasks=1)
        running = asyncio.ensure_future(run(model, make_job(model), taskCount=4))
        await asyncio.sleep(5)
        model.knobs.parallel_tasks = 100
        model.knobs_changed()
        await running
        return asyncio.get_running_loop().time()

    assert virtually(work()) == 15


def test_tasks_beyond_the_quota_of_cpus_or_memory_wait():
    async def work(**quota: float) -> float:
        model = model_of(taking(10), **quota)
        # Of 2 vCPU and 4 GiB each.
        await asyncio.gather(*(run(model, make_job(model, name), taskCount=5) for name in "ab"))
        return asyncio.get_running_loop().time()

    assert virtually(work(vcpu_quota=20, memory_gib_quota=40)) == 10
    assert virtually(work(vcpu_quota=10, memory_gib_quota=40)) == 20
    assert virtually(work(vcpu_quota=20, memory_gib_quota=16)) == 30


def test_a_region_may_refuse_an_execution_of_which_not_all_tasks_have_room():
    async def work() -> None:
        model = model_of(taking(10), vcpu_quota=4, quota_refuses="not all fit")
        job = make_job(model)
        with pytest.raises(ApiError, match="Quota exceeded for total allowable CPU"):
            start(model, job, taskCount=3)
        with pytest.raises(ApiError, match="CpuAllocPerProjectRegion requested: 6000 allowed"):
            start(model, job, taskCount=3)
        start(model, job, taskCount=2)

    virtually(work())


def test_a_region_that_refuses_what_has_no_room_says_so_in_each_of_googles_ways():
    async def work() -> list[str]:
        model = model_of(taking(10), vcpu_quota=4, quota_refuses="none fits")
        job = make_job(model)
        start(model, job, taskCount=5)
        await asyncio.sleep(1)
        refusals = []
        for words in (
            "Quota exceeded for total allowable CPU per project per region",
            "CpuAllocPerProjectRegion requested: 6000 allowed: 4000",
        ):
            with pytest.raises(ApiError, match=words) as refused:
                start(model, job)
            refusals.append(refused.value.status)
        await asyncio.sleep(30)
        start(model, job)
        return refusals

    assert virtually(work()) == ["RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"]


def test_regions_do_not_share_quotas():
    async def work() -> None:
        model = model_of(taking(10), parallel_tasks=1, run_calls_per_minute=1)
        here, there = make_job(model), make_job(model, where=ELSEWHERE)
        await asyncio.gather(run(model, here), run(model, there))
        assert asyncio.get_running_loop().time() == 10

    virtually(work())


def test_run_calls_are_refused_beyond_those_of_a_minute_and_go_on_after_it():
    async def work() -> None:
        model = model_of(taking(1), run_calls_per_minute=2)
        job = make_job(model)
        for _ in range(2):
            start(model, job)
        with pytest.raises(ApiError, match="'Job run requests per minute per region'") as refused:
            start(model, job)
        assert refused.value.status == "RESOURCE_EXHAUSTED"
        assert refused.value.details[0]["reason"] == "RATE_LIMIT_EXCEEDED"
        await asyncio.sleep(60)
        start(model, job)

    virtually(work())


def test_no_more_executions_run_than_the_region_allows():
    async def work() -> None:
        model = model_of(taking(100), running_executions=2)
        job = make_job(model)
        for _ in range(2):
            start(model, job)
        with pytest.raises(ApiError, match="running executions"):
            start(model, job)
        await asyncio.sleep(101)
        start(model, job)

    virtually(work())


def test_an_instance_is_billed_for_a_minute_at_least_whatever_it_ran():
    async def work() -> CloudRunModel:
        model = model_of(taking(10))
        await run(model, make_job(model), taskCount=2)
        slow = model_of(taking(100))
        await run(slow, make_job(slow))
        model.bill.add("more", slow.bill.ran_seconds, cpus=1, memory_mib=1024)
        return model

    bill = virtually(work()).bill

    assert bill.billed_seconds == 60 + 60 + 100
    assert bill.vcpu_seconds == 2 * 120 + 100
    assert bill.gib_seconds == 4 * 120 + 100


def test_a_failed_attempt_is_tried_again_and_tells_its_number():
    attempts: list[int] = []

    async def third_time(spec: ContainerSpec) -> ContainerEnd:
        attempts.append(spec.attempt)
        assert spec.environment["CLOUD_RUN_TASK_ATTEMPT"] == str(spec.attempt)
        return ContainerEnd(exit_code=0 if spec.attempt == 2 else 1)

    async def work() -> tuple[dict[str, Any], CloudRunModel]:
        model = model_of(third_time)
        return await run(model, make_job(model, maxRetries=3)), model

    execution, model = virtually(work())

    assert attempts == [0, 1, 2]
    assert (execution["succeededCount"], execution["retriedCount"]) == (1, 1)
    assert model.bill.instances == 3


@pytest.mark.parametrize(
    ("end", "code", "message", "result"),
    [
        (
            ContainerEnd(exit_code=3),
            10,
            "failed with exit code: 3 and message: The container exited with an error.",
            {"exitCode": 3},
        ),
        (
            ContainerEnd(out_of_memory=True),
            10,
            "failed with exit code: 0 and message: The configured memory limit was reached.",
            {"termSignal": 9},
        ),
        (
            ContainerEnd(out_of_memory=True, signal_told=False),
            10,
            "failed with exit code: 0 and message: The configured memory limit was reached.",
            {},
        ),
        (
            ContainerEnd(timed_out=True),
            4,
            "failed with exit code: 0 and message: The configured timeout was reached.",
            {},
        ),
        (ContainerEnd(term_signal=9), 13, "The container was lost", {"termSignal": 9}),
        (ContainerEnd(not_started="no image"), 13, "failed to start: no image", {}),
    ],
)
def test_each_failure_has_its_code_and_words(
    end: ContainerEnd, code: int, message: str, result: dict[str, int]
):
    async def behaviour(spec: ContainerSpec) -> ContainerEnd:
        return end

    async def work() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        model = model_of(behaviour)
        operation, execution = start(model, make_job(model))
        done = await model.wait_operation(operation, 1e6)
        (task,) = model.list_tasks(execution)["tasks"]
        return done, model.get_execution(execution), task

    operation, execution, task = virtually(work())

    assert operation["error"]["code"] == code
    assert message in operation["error"]["message"]
    assert completed(execution)["message"] == operation["error"]["message"]
    assert completed(execution)["executionReason"] == "NON_ZERO_EXIT_CODE"
    last = task["lastAttemptResult"]
    assert last.pop("status")["code"] == code
    assert last == result


def test_a_task_that_fails_leaves_the_others_running():
    async def first_fails(spec: ContainerSpec) -> ContainerEnd:
        await asyncio.sleep(1 + 10 * spec.index)
        return ContainerEnd(exit_code=int(spec.index == 0))

    async def work() -> dict[str, Any]:
        model = model_of(first_fails)
        return await run(model, make_job(model), taskCount=3)

    execution = virtually(work())

    assert (execution["failedCount"], execution["succeededCount"]) == (1, 2)


def test_a_timeout_is_of_each_attempt():
    async def work() -> tuple[dict[str, Any], float]:
        model = model_of(taking(100))
        job = make_job(model, maxRetries=1)
        return await run(model, job, timeout="30s"), asyncio.get_running_loop().time()

    execution, seconds = virtually(work())

    assert seconds == 60
    assert "timeout was reached" in completed(execution)["message"]


def test_cancelling_ends_what_runs_abandons_what_waits_and_is_no_error():
    async def work() -> tuple[dict[str, Any], dict[str, Any], Counter[str]]:
        model = model_of(taking(100))
        job = make_job(model, template={"parallelism": 2})
        operation, name = start(model, job, taskCount=5)
        await asyncio.sleep(10)
        cancelling = model.cancel_execution(name, {})
        assert completed(cancelling["metadata"])["executionReason"] == "CANCELLING"
        done = await model.wait_operation(operation, 1e6)
        states = Counter(
            task["labels"]["run.googleapis.com/runningState"]
            for task in model.list_tasks(name)["tasks"]
        )
        assert asyncio.get_running_loop().time() == 10
        return done, model.get_execution(name), states

    operation, execution, states = virtually(work())

    assert states == {"Cancelled": 2, "Abandoned": 3}
    assert execution["cancelledCount"] == 5
    assert completed(execution)["message"] == "Cancelled by user."
    assert completed(execution)["executionReason"] == "CANCELLED"
    assert "error" not in operation
    assert operation["response"]["name"] == execution["name"]


def test_an_execution_can_be_cancelled_before_it_began():
    async def work() -> dict[str, Any]:
        model = model_of(taking(100))
        operation, name = start(model, make_job(model))
        model.cancel_execution(name, {})
        await model.wait_operation(operation, 1e6)
        return model.get_execution(name)

    assert virtually(work())["cancelledCount"] == 1


def test_deleting_a_job_cancels_what_runs_and_forgets_it():
    async def work() -> None:
        model = model_of(taking(100))
        job = make_job(model)
        operation, execution = start(model, job)
        await asyncio.sleep(1)
        model.delete_job(job)
        done = await model.wait_operation(operation, 1e6)
        assert done["response"]["cancelledCount"] == 1
        with pytest.raises(ApiError, match="of kind 'EXECUTION' in region 'europe-west1'"):
            model.get_execution(execution)

    virtually(work())


def test_lost_containers_are_the_same_in_each_run_with_the_same_seed():
    async def lost(seed: int) -> list[int]:
        model = model_of(taking(10), kill_probability=0.3, seed=seed)
        operation, execution = start(model, make_job(model), taskCount=30)
        await model.wait_operation(operation, 1e6)
        return [
            task.get("index", 0)
            for task in model.list_tasks(execution)["tasks"]
            if "lost" in task["lastAttemptResult"]["status"].get("message", "")
        ]

    first = virtually(lost(1))
    assert 0 < len(first) < 30
    assert virtually(lost(1)) == first
    assert virtually(lost(2)) != first


def test_a_task_can_be_delivered_twice():
    delivered: list[int] = []

    async def behaviour(spec: ContainerSpec) -> None:
        delivered.append(spec.index)

    async def work() -> dict[str, Any]:
        model = model_of(behaviour, run_tasks_twice=True)
        return await run(model, make_job(model), taskCount=2)

    execution = virtually(work())

    assert sorted(delivered) == [0, 0, 1, 1]
    assert execution["succeededCount"] == 2


def test_a_job_is_ready_only_after_it_was_reconciled():
    async def work() -> None:
        model = model_of(taking(1), reconcile_seconds=3.0)
        job = make_job(model)
        assert model.get_job(job)["reconciling"]
        assert model.get_job(job)["terminalCondition"]["state"] == "CONDITION_PENDING"
        await asyncio.sleep(4)
        shown = model.get_job(job)
        assert "reconciling" not in shown
        assert shown["observedGeneration"] == shown["generation"] == "1"

    virtually(work())


def test_a_job_tells_of_its_latest_execution():
    async def work() -> dict[str, Any]:
        model = model_of(taking(1, exit_code=1))
        job = make_job(model)
        await run(model, job)
        await run(model, job)
        return model.get_job(job)

    job = virtually(work())

    assert job["executionCount"] == 2
    assert job["latestCreatedExecution"]["completionStatus"] == "EXECUTION_FAILED"
    assert job["latestCreatedExecution"]["name"].startswith("job-")


def test_a_waiting_task_is_pending_and_has_no_start():
    async def work() -> list[dict[str, Any]]:
        model = model_of(taking(10), parallel_tasks=1)
        _, execution = start(model, make_job(model), taskCount=2)
        await asyncio.sleep(1)
        assert model.get_execution(execution)["runningCount"] == 1
        return model.list_tasks(execution)["tasks"]

    running, waiting = virtually(work())

    assert "startTime" in running
    assert completed(running)["state"] == "CONDITION_RECONCILING"
    assert "startTime" not in waiting
    assert completed(waiting)["state"] == "CONDITION_PENDING"


def test_ten_thousand_tasks_run_and_are_listed_in_pages_of_a_thousand():
    async def work() -> None:
        model = model_of(taking(10), vcpu_quota=1e6, memory_gib_quota=1e6)
        operation, execution = start(model, make_job(model), taskCount=10_000)
        done = await model.wait_operation(operation, 1e6)
        assert done["response"]["succeededCount"] == 10_000
        assert asyncio.get_running_loop().time() == 100
        token, pages = "", []
        while True:
            page = model.list_tasks(execution, 5_000, token)
            pages.append([task.get("index", 0) for task in page["tasks"]])
            token = page.get("nextPageToken", "")
            if not token:
                break
        assert [len(page) for page in pages] == [1_000] * 10
        assert sorted(index for page in pages for index in page) == list(range(10_000))

    virtually(work())


def test_new_executions_do_not_shift_pages():
    async def work() -> None:
        model = model_of(taking(1))
        job = make_job(model)
        names = [start(model, job)[1] for _ in range(4)][::-1]
        first = model.list_executions(job, 2)
        start(model, job)
        second = model.list_executions(job, 2, first["nextPageToken"])
        found = [each["name"] for page in (first, second) for each in page["executions"]]
        assert found == names
        with pytest.raises(ApiError, match="page token"):
            model.list_executions(f"{WHERE}/jobs/-", 2, first["nextPageToken"])

    virtually(work())


def test_executions_may_come_in_any_order_and_pages_have_each_once():
    async def work() -> tuple[list[str], list[str]]:
        model = model_of(taking(1), list_order="any")
        job = make_job(model)
        names = [start(model, job)[1] for _ in range(20)]
        return names, listed(model, job, size=3)

    names, found = virtually(work())

    assert sorted(found) == sorted(names)
    assert found not in (names, names[::-1])


def test_the_last_thousand_completed_executions_of_a_job_are_kept_and_those_of_seven_days():
    async def work() -> tuple[int, int]:
        many = {"vcpu_quota": 1e6, "memory_gib_quota": 1e6, "run_calls_per_minute": 10_000}
        model = model_of(taking(1), running_executions=5_000, **many)
        job = make_job(model)
        for _ in range(1_005):
            start(model, job)
        await asyncio.sleep(7 * 24 * 3600)
        of_seven_days = len(listed(model, job))
        await asyncio.sleep(60)
        await run(model, job)
        return of_seven_days, len(listed(model, job))

    assert virtually(work()) == (1_005, 1_000)


def listed(model: CloudRunModel, job: str, size: int = 100) -> list[str]:
    """The names on all pages."""
    names: list[str] = []
    token = ""
    while True:
        page = model.list_executions(job, size, token)
        names += [each["name"] for each in page["executions"]]
        token = page.get("nextPageToken", "")
        if not token:
            return names


@pytest.mark.parametrize(
    ("permission", "call"),
    [
        ("run.jobs.run", lambda model, job: model.run_job(job, {})),
        (
            "run.jobs.runWithOverrides",
            lambda model, job: model.run_job(job, {"overrides": {"taskCount": 2}}),
        ),
        ("run.executions.list", lambda model, job: model.list_executions(job)),
    ],
)
def test_a_denied_permission_is_named(permission: str, call: Any):
    async def work() -> None:
        model = model_of(taking(1))
        job = make_job(model)
        model.knobs.change({"denied_permissions": [permission]})
        asked = {"permissions": [permission, "run.jobs.get"]}
        assert model.allowed_permissions(job, asked) == {"permissions": ["run.jobs.get"]}
        with pytest.raises(ApiError, match=permission) as refused:
            call(model, job)
        assert refused.value.status == "PERMISSION_DENIED"

    virtually(work())


def test_a_knob_that_is_not_there_changes_nothing():
    knobs = Knobs()
    for values in ({"seed": 2, "nothing": 1}, {"seed": 2, "startup_seconds": "3"}, {"seed": True}):
        with pytest.raises(ApiError, match="knob"):
            knobs.change(values)
    assert knobs == Knobs()
