"""The outputs file is read whole, or refused with the name of what is wrong in it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import Cluster, InputError
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob, read_terraform_outputs
from povstorm_client.frames.job_settings import JobSettings

SMALL = {
    "name": "povstorm-render-2g",
    "vcpus": 1,
    "memory_mib": 2048,
    "parallelism": 100,
    "max_retries": 0,
    "task_timeout_seconds": 3600,
}
VALUES: dict[str, Any] = {
    "project_id": "povstorm-prod",
    "region": "europe-west1",
    "bucket": "povstorm-prod-render",
    "render_image": "europe-west1-docker.pkg.dev/povstorm-prod/povstorm/render:0.1.0",
    "renderer_service_account": "renderer@povstorm-prod.iam.gserviceaccount.com",
    "orchestrator_service_account": "orchestrator@povstorm-prod.iam.gserviceaccount.com",
    "submitter_service_account": "submitter@povstorm-prod.iam.gserviceaccount.com",
    "render_jobs": [{**SMALL, "name": "povstorm-render-8g", "memory_mib": 8192}, SMALL],
}


def outputs(**changes: Any) -> dict[str, Any]:
    values = copy.deepcopy({**VALUES, **changes})
    return {
        name: {"sensitive": False, "type": "string", "value": value}
        for name, value in values.items()
    }


@pytest.fixture
def file(tmp_path: Path):
    def write(content: Any) -> Path:
        path = tmp_path / "outputs.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_the_outputs_are_read_with_the_smallest_job_first(file):
    found = read_terraform_outputs(file(outputs()))

    assert found.bucket == "povstorm-prod-render"
    assert found.render_jobs[0] == CloudRunJob("povstorm-render-2g", 1, 2048, 100, 0, 3600)
    assert [job.memory_mib for job in found.render_jobs] == [2048, 8192]


def test_a_cluster_is_made_of_them(file):
    cluster = Cluster.from_terraform_outputs(file(outputs()))

    assert cluster.storage_uri == "gs://povstorm-prod-render"
    fleet = cluster.fleet(JobSettings(prefer="cheapest", max_usd=5))
    assert fleet.job_path(fleet.jobs[0]) == (
        "projects/povstorm-prod/locations/europe-west1/jobs/povstorm-render-2g"
    )


def test_further_outputs_are_left_alone(file):
    assert read_terraform_outputs(file({**outputs(), "mine": {"value": 1}}))


@pytest.mark.parametrize("name", VALUES)
def test_a_missing_output_is_named(file, name: str):
    content = outputs()
    del content[name]

    with pytest.raises(InputError, match=rf"no output {name}: run `terraform apply`"):
        read_terraform_outputs(file(content))


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("value", [None, 7, "", [], {}, "with blanks in it"])
def test_a_mistyped_output_is_named(file, name: str, value: Any):
    with pytest.raises(InputError, match=name):
        read_terraform_outputs(file(outputs(**{name: value})))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("value", [None, -1, [], True])
def test_a_wrong_field_of_a_render_job_is_named(file, name: str, value: Any):
    with pytest.raises(InputError, match=rf"render_jobs\[0\].*{name}"):
        read_terraform_outputs(file(outputs(render_jobs=[{**SMALL, name: value}])))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "Render 2G"),
        ("name", "projects/p/locations/r/jobs/render"),
        ("vcpus", 9),
        ("vcpus", float("nan")),
        ("memory_mib", 65536),
        ("memory_mib", 2048.5),
        ("memory_mib", "2048"),
        ("memory_mib", float("inf")),
        ("parallelism", 10_001),
        ("max_retries", 11),
        ("task_timeout_seconds", 168 * 3600 + 1),
    ],
)
def test_a_number_that_cloud_run_does_not_have_is_refused(file, name: str, value: Any):
    with pytest.raises(InputError, match=rf"render_jobs\[0\]\.{name} is"):
        read_terraform_outputs(file(outputs(render_jobs=[{**SMALL, name: value}])))


def test_whole_numbers_may_be_written_with_a_point(file):
    """JSON has one kind of number."""
    (job,) = read_terraform_outputs(
        file(outputs(render_jobs=[{**SMALL, "memory_mib": 2048.0}]))
    ).render_jobs

    assert isinstance(job.memory_mib, int)


def test_two_jobs_of_one_name_are_refused(file):
    with pytest.raises(InputError, match="povstorm-render-2g"):
        read_terraform_outputs(file(outputs(render_jobs=[SMALL, SMALL])))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project_id", "My Project"),
        ("region", "europe-west1-b"),
        ("bucket", "gs://povstorm-prod-render"),
        ("bucket", "google-frames"),
        ("bucket", "192.168.5.4"),
        ("render_image", "render"),
        ("submitter_service_account", "submitter"),
    ],
)
def test_what_is_no_such_name_is_refused(file, name: str, value: str):
    with pytest.raises(InputError, match=f"output {name} is '{value}'"):
        read_terraform_outputs(file(outputs(**{name: value})))


def test_sensitive_outputs_are_read_too(file):
    content = outputs()
    content["bucket"]["sensitive"] = True

    assert read_terraform_outputs(file(content)).bucket == "povstorm-prod-render"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not JSON"),
        ("bucket = x", "not JSON"),
        ("[]", "not the output of"),
        ({"format_version": "1.0", "values": {}}, "not the output of"),
        ({}, "terraform apply"),
        ({**VALUES}, "has no value"),
    ],
)
def test_another_file_is_refused_with_the_command_that_makes_it(file, content, words: str):
    with pytest.raises(InputError, match=words) as error:
        read_terraform_outputs(file(content))
    assert "terraform" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"nowhere\.json cannot be read"):
        read_terraform_outputs(tmp_path / "nowhere.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(VALUES)), value=JSON)
def test_whatever_an_output_is_it_is_read_or_refused(tmp_path_factory, name: str, value: Any):
    path = tmp_path_factory.mktemp("outputs") / "outputs.json"
    path.write_text(json.dumps(outputs(**{name: value})))

    try:
        read_terraform_outputs(path)
    except InputError as error:
        assert name in str(error)
