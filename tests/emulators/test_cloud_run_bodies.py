"""What the Cloud Run stand-in takes in a request, held against the API's discovery documents."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.emulators.cloud_run.server import PROJECT, REGION, CloudRunServer

PARENT = f"projects/{PROJECT}/locations/{REGION}"
JOB = {
    "labels": {"scene": "orbit"},
    "annotations": {"example.com/note": "any text"},
    "client": "terraform",
    "launchStage": "GA",
    "template": {
        "labels": {"scene": "orbit"},
        "parallelism": 4,
        "taskCount": 8,
        "template": {
            "containers": [
                {
                    "name": "render",
                    "image": "render:1",
                    "command": ["python3"],
                    "args": ["-m", "render_image"],
                    "env": [{"name": "A", "value": "b"}],
                    "resources": {"limits": {"cpu": "1", "memory": "2Gi"}},
                    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
                }
            ],
            "volumes": [{"name": "scratch", "emptyDir": {"medium": "MEMORY", "sizeLimit": "1Gi"}}],
            "maxRetries": 2,
            "timeout": "600.5s",
            "serviceAccount": f"renderer@{PROJECT}.iam.gserviceaccount.com",
            "executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2",
            "vpcAccess": {"egress": "ALL_TRAFFIC", "networkInterfaces": [{"network": "default"}]},
        },
    },
}
RUN = {
    "validateOnly": True,
    "overrides": {
        "taskCount": 3,
        "timeout": "60s",
        "containerOverrides": [
            {"name": "render", "args": ["a"], "env": [{"name": "A", "value": "c"}]}
        ],
    },
}
V1_RUN = {
    "overrides": {
        "taskCount": 3,
        "timeoutSeconds": 60,
        "containerOverrides": [{"args": ["a"], "env": [{"name": "A", "value": "c"}]}],
    }
}
# Where the keys are the caller's own.
MAPS = ("labels", "annotations", "limits")


@pytest.fixture(scope="module")
def server() -> Iterator[CloudRunServer]:
    many = {f"{kind}_calls_per_minute": 100_000 for kind in ("run", "read", "write")}
    with CloudRunServer((sys.executable, "-c", "pass"), **many) as server:
        send(server, "create", JOB, validate_only=False).raise_for_status()
        yield server


def send(
    server: CloudRunServer, what: str, body: Any, *, validate_only: bool = True
) -> requests.Response:
    """Create or run a job; what is right changes nothing."""
    query = {"validateOnly": "true"} if validate_only else {}
    if what == "create":
        query["jobId"] = "other" if validate_only else "job"
        return requests.post(
            f"{server.rest_url}/v2/{PARENT}/jobs", json=body, params=query, timeout=30
        )
    url = f"{server.rest_url}/v2/{PARENT}/jobs/job:run"
    if what == "run_v1":
        url = f"{server.rest_url}/apis/run.googleapis.com/v1/namespaces/{PROJECT}/jobs/job:run"
    return requests.post(url, json=body, timeout=30)


BODIES = {"create": JOB, "run": RUN, "run_v1": V1_RUN}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all that is in a body, itself included."""
    yield path
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    for key, each in pairs:
        yield from places(each, (*path, key))


def at(body: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        body = body[key]
    return body


def written(path: tuple[Any, ...]) -> str:
    """As the API writes paths of fields: ``template.containers[0].image``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


OBJECTS = [
    (what, path)
    for what, body in BODIES.items()
    for path in places(body)
    if isinstance(at(body, path), dict) and (not path or path[-1] not in MAPS)
]
VALUES = [(what, path) for what, body in BODIES.items() for path in places(body) if path]


def wrong_for(value: Any) -> st.SearchStrategy[Any]:
    """Values that no field of the value's type takes."""
    other: list[Any] = [{"x": 1}, [[]], [None]]
    if isinstance(value, bool):
        other += ["true", 1, "yes"]
    elif isinstance(value, int):
        other += ["many", 1.5, True, 2**40, "0x3"]
    elif isinstance(value, str):
        other += [True, 1.5, [value]]
    elif isinstance(value, list):
        other = ["text", 7, {"x": 1}, True]
    else:
        other = ["text", 7, [[]], True]
    return st.sampled_from(other)


@pytest.mark.parametrize("what", ["create", "run"])
def test_the_bodies_are_right_as_they_are(server: CloudRunServer, what: str):
    assert send(server, what, BODIES[what]).status_code == 200


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(OBJECTS),
    name=st.from_regex(r"[a-zA-Z_]{1,12}", fullmatch=True),
    value=st.sampled_from([1, "text", True, {}, [], {"a": [1]}]),
)
def test_an_unknown_field_is_refused_wherever_it_stands(
    server: CloudRunServer, place: tuple[str, tuple[Any, ...]], name: str, value: Any
):
    what, path = place
    body, field = copy.deepcopy(BODIES[what]), f"x{name}"
    at(body, path)[field] = value

    answer = send(server, what, body)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    assert f"Unknown name \"{field}\" at '{written(path)}'" in error["message"]


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(VALUES), data=st.data())
def test_a_value_of_the_wrong_type_is_refused_and_its_field_named(
    server: CloudRunServer, place: tuple[str, tuple[Any, ...]], data: st.DataObject
):
    what, path = place
    body = copy.deepcopy(BODIES[what])
    at(body, path[:-1])[path[-1]] = data.draw(wrong_for(at(body, path)))

    answer = send(server, what, body)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    assert written(path) in error["details"][0]["fieldViolations"][0]["field"] + error["message"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("template", "template", "executionEnvironment"), "EXECUTION_ENVIRONMENT_GEN3"),
        (("template", "template", "executionEnvironment"), 9),
        (("launchStage",), "ga"),
        (("template", "template", "timeout"), "10m"),
        (("template", "template", "timeout"), "169h"),
        (("template", "template", "timeout"), f"{169 * 3600}s"),
        (("template", "template", "maxRetries"), 11),
        (("template", "template", "maxRetries"), -1),
        (("template", "taskCount"), 10_001),
        (("template", "parallelism"), -1),
        (("template", "template", "containers", 0, "image"), ""),
        (("template", "template", "containers", 0, "name"), "No_Label"),
        (("template", "template", "containers", 0, "env"), [{"name": "A"}, {"name": "A"}]),
        (("template", "template", "containers", 0, "env"), [{"value": "nameless"}]),
        (("template", "template", "containers", 0, "env"), [{"name": "A", "value": "b" * 32769}]),
        (("template", "template", "containers", 0, "args"), ["a"] * 1001),
        (("template", "template", "containers", 0, "resources", "limits"), {"disk": "1Gi"}),
        (("labels",), {"Upper": "case"}),
        (("labels",), {"run.googleapis.com/job": "x"}),
        (("annotations",), {"serving.knative.dev/x": "y"}),
    ],
)
def test_what_the_documentation_forbids_is_refused(
    server: CloudRunServer, path: tuple[Any, ...], value: Any
):
    body = copy.deepcopy(JOB)
    at(body, path[:-1])[path[-1]] = value

    answer = send(server, "create", body)

    assert answer.status_code == 400
    assert written(path) in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        ("template",),
        ("template", "template"),
        ("template", "template", "containers"),
        ("template", "template", "containers", 0, "image"),
    ],
)
def test_what_is_required_cannot_be_left_out(server: CloudRunServer, path: tuple[Any, ...]):
    body = copy.deepcopy(JOB)
    del at(body, path[:-1])[path[-1]]

    answer = send(server, "create", body)

    assert answer.status_code == 400
    assert "Required field not set" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("cpu", "memory", "fits"),
    [
        ("1", "512Mi", True),
        ("1", "4Gi", True),
        ("1", "4097Mi", False),
        ("2", "8Gi", True),
        ("2", "9Gi", False),
        ("4", "1Gi", False),
        ("4000m", "16Gi", True),
        ("6", "24Gi", True),
        ("8", "3Gi", False),
        ("8", "32Gi", True),
        ("8", "33Gi", False),
        ("3", "4Gi", False),
        ("0.5", "512Mi", False),
        ("500m", "512Mi", False),
        ("1", "511Mi", False),
        ("1", "1e9", False),
        ("1", "2 GB", False),
        ("one", "512Mi", False),
    ],
)
def test_cpus_and_memory_must_fit_each_other(
    server: CloudRunServer, cpu: str, memory: str, fits: bool
):
    body = copy.deepcopy(JOB)
    path = ("template", "template", "containers", 0, "resources", "limits")
    at(body, path).update(cpu=cpu, memory=memory)

    answer = send(server, "create", body)

    assert answer.status_code == (200 if fits else 400), answer.text
    assert fits or written(path) in answer.json()["error"]["message"]


def test_other_forms_of_protobufs_json_are_one_value(server: CloudRunServer):
    """https://protobuf.dev/programming-guides/json/"""
    body = copy.deepcopy(JOB)
    body["launchStage"] = 4
    body["template"]["taskCount"] = "8"
    body["template"]["template"]["executionEnvironment"] = 2
    body["template"]["template"]["maxRetries"] = 2.0
    body["template"]["template"]["encryptionKey"] = None

    made, plain = (send(server, "create", each).json() for each in (body, JOB))

    differing = ("name", "uid", "createTime", "updateTime", "etag", "terminalCondition")
    for answer in (made["response"], plain["response"]):
        for name in differing:
            answer.pop(name, None)
    assert made["response"] == plain["response"]


def test_what_only_the_server_sets_is_ignored(server: CloudRunServer):
    own = {"uid": "mine", "executionCount": 7, "creator": "me", "generation": "9"}

    made = send(server, "create", {**JOB, **own}).json()["response"]

    assert made["uid"] != "mine"
    assert "executionCount" not in made
    assert made["generation"] == "1"


def test_defaults_are_filled_in_as_the_service_does(server: CloudRunServer):
    body = {"template": {"template": {"containers": [{"image": "x"}]}}}

    made = send(server, "create", body).json()["response"]

    assert made["launchStage"] == "GA"
    assert made["template"] == {
        "taskCount": 1,
        "template": {
            "containers": [
                {"image": "x", "resources": {"limits": {"cpu": "1000m", "memory": "512Mi"}}}
            ],
            "maxRetries": 3,
            "timeout": "600s",
            "executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2",
        },
    }


@pytest.mark.parametrize(
    ("job_id", "status"),
    [
        ("a", 200),
        ("a" * 49, 200),
        ("a" * 50, 400),
        ("", 400),
        ("Upper", 400),
        ("1st", 400),
        ("end-", 400),
        ("under_score", 400),
        ("job", 409),
    ],
)
def test_ids_of_jobs(server: CloudRunServer, job_id: str, status: int):
    answer = requests.post(
        f"{server.rest_url}/v2/{PARENT}/jobs",
        json=JOB,
        params={"jobId": job_id, "validateOnly": "true"},
        timeout=30,
    )

    assert answer.status_code == status


@pytest.mark.parametrize(
    "overrides",
    [
        {"taskCount": -1},
        {"timeout": f"{169 * 3600}s"},
        {"delayExecution": "later"},
        {"containerOverrides": [{"name": "other", "args": ["a"]}]},
        {"containerOverrides": [{"args": ["a"], "clearArgs": True}]},
        {"containerOverrides": [{"env": [{"name": "A=B"}]}]},
    ],
)
def test_overrides_that_make_no_sense_are_refused(server: CloudRunServer, overrides: Any):
    answer = send(server, "run", {"overrides": overrides})

    assert answer.status_code == 400
    assert "overrides" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"pagesize": "3"}, "pagesize"),
        ({"pageSize": "many"}, "pageSize"),
        ({"pageSize": "-1"}, "page_size"),
        ({"pageToken": "guessed"}, "page_token"),
        ({"showDeleted": "yes"}, "showDeleted"),
    ],
)
def test_queries_are_checked_too(server: CloudRunServer, query: dict[str, str], name: str):
    answer = requests.get(f"{server.rest_url}/v2/{PARENT}/jobs", params=query, timeout=30)

    assert answer.status_code == 400
    assert name in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", f"{PARENT}/jobs/missing", 404),
        ("GET", f"{PARENT}/jobs/job/nothing", 404),
        ("PUT", f"{PARENT}/jobs/job", 404),
        ("GET", "projects/Bad_Project/locations/europe-west1/jobs", 400),
        ("GET", f"projects/{PROJECT}/locations/everywhere/jobs", 400),
        ("GET", f"{PARENT}/services", 501),
    ],
)
def test_other_paths_are_refused_as_json(server: CloudRunServer, verb: str, path: str, status: int):
    answer = requests.request(verb, f"{server.rest_url}/v2/{path}", timeout=30)

    assert answer.status_code == answer.json()["error"]["code"] == status


@pytest.mark.parametrize("text", ["{", "[]", "3", '"text"', "\xff"])
def test_what_is_no_json_object_is_refused(server: CloudRunServer, text: str):
    answer = requests.post(
        f"{server.rest_url}/v2/{PARENT}/jobs/job:run", data=text.encode("latin-1"), timeout=30
    )

    assert answer.status_code == 400
    assert "Invalid JSON payload" in answer.json()["error"]["message"]
