"""job.json keeps its bytes, and gives back what a job is rendered by, whoever said it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import pytest
import typer
import typer.testing
from hypothesis import example, given
from hypothesis import strategies as st

from flows import render_scene
from povstorm_client import Cluster, InputError, Job, WorkUnit
from povstorm_client import job as job_module
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.commands.scene_options import with_job_options
from povstorm_client.frames.job_settings import (
    GIF_MOST_FPS,
    LEAST_MEMORY,
    MOST_RETRIES,
    PREFERENCES,
    VIDEO_ENDINGS,
    JobSettings,
)
from povstorm_client.frames.tone_mapping import TONE_MAPS
from povstorm_client.frames.video_options import VIDEO_CODECS
from povstorm_client.jobs.manifest import read_manifest, write_manifest
from povstorm_client.scene_job import settings_of_options
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tests.synthetic_job import make_manifest

FLEET = CloudRunFleet("p", "r", (CloudRunJob("render", 1, 512, 4, 0, 600),))
# What version 0.2.0 has written of two jobs.
HEAD = """{
  "job_id": "golden",
  "name": "orbit",
  "frames": [
    1
  ],
  "shared_tree": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
  "shared_files": {},
"""
BY_DEFAULT = (
    HEAD
    + """  "fps": "24",
  "video_ending": "mp4",
  "allow_missing_frames": false,
  "retries": 3,
  "frame_timeout": null,
  "created": 1700000000.5,
  "created_by": "somebody",
  "version": "0.2.0",
  "cloud_run": null,
  "stall_timeout": 3600.0,
  "frame_memory": null
}"""
)
OF_A_FLEET = (
    HEAD
    + """  "fps": "24000/1001",
  "video_ending": "",
  "allow_missing_frames": true,
  "retries": 0,
  "frame_timeout": 60.0,
  "created": 1700000000.5,
  "created_by": "somebody",
  "version": "0.2.0",
  "cloud_run": {
    "project_id": "p",
    "region": "r",
    "jobs": [
      {
        "name": "render",
        "vcpus": 1,
        "memory_mib": 512,
        "parallelism": 4,
        "max_retries": 0,
        "task_timeout_seconds": 600
      }
    ],
    "lean": "cheapest",
    "max_usd": 2.5,
    "seconds_per_frame": 3.0
  },
  "stall_timeout": null,
  "frame_memory": 1073741824
}"""
)
DIFFERENT = JobSettings(
    fps="24000/1001",
    video=None,
    allow_missing_frames=True,
    retries=0,
    frame_timeout=60.0,
    stall_timeout=None,
    frame_memory=1 << 30,
    prefer="cheapest",
    max_usd=2.5,
    seconds_per_frame=3.0,
)


def fleet_of(settings: JobSettings) -> CloudRunFleet:
    return replace(
        FLEET,
        lean=settings.prefer,
        max_usd=settings.max_usd,
        seconds_per_frame=settings.seconds_per_frame,
    )


@pytest.mark.parametrize(
    ("settings", "on_cloud_run", "text"),
    [(JobSettings(), False, BY_DEFAULT), (DIFFERENT, True, OF_A_FLEET)],
    ids=["by default", "of a fleet"],
)
def test_job_json_has_the_bytes_that_it_always_had(
    settings: JobSettings,
    on_cloud_run: bool,
    text: str,
    cluster: Cluster,
    sphere_unit: Callable[[], WorkUnit],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(job_module.time, "time", lambda: 1700000000.5)
    monkeypatch.setattr(job_module, "_user", lambda: "somebody")
    monkeypatch.setattr(job_module, "povstorm_version", lambda: "0.2.0")
    job = Job.with_settings(cluster, "orbit", settings)
    job.job_id = "golden"
    job.fleet = fleet_of(settings) if on_cloud_run else None
    job.add_work_unit(sphere_unit())

    job.submit()

    assert cluster.storage.read(layout.job_manifest("golden")).decode() == text
    assert read_manifest(cluster.storage, "golden").settings == settings


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> FolderStorage:
    return FolderStorage(tmp_path_factory.mktemp("manifests"))


def seconds() -> st.SearchStrategy[float]:
    return st.floats(min_value=0.001, max_value=1e9)


@st.composite
def job_settings(draw: st.DrawFn) -> JobSettings:
    video = draw(st.sampled_from([None, *VIDEO_ENDINGS]))
    most = GIF_MOST_FPS if video == "gif" else 1000
    return JobSettings(
        fps=draw(st.fractions(min_value="1/1001", max_value=most, max_denominator=1001)),
        video=video,
        allow_missing_frames=draw(st.booleans()),
        retries=draw(st.integers(0, MOST_RETRIES)),
        frame_timeout=draw(st.none() | seconds()),
        stall_timeout=draw(st.none() | seconds()),
        # In sixteenths of a GiB, which people can say exactly.
        frame_memory=draw(st.none() | st.integers(1, 1 << 14).map(lambda n: n * LEAST_MEMORY)),
        prefer=draw(st.sampled_from(PREFERENCES)),
        max_usd=draw(st.none() | seconds()),
        seconds_per_frame=draw(st.none() | seconds()),
    )


# Of every kind and size, and those that are wanted more often than chance has it.
ANYTHING = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.fractions(), st.text()),
    st.integers(0, 100),
    st.integers(0, 400).map(lambda power: 2**power),
    st.integers(-400, 400).map(lambda power: f"1e{power}"),
    st.integers(-300, 300).map(lambda power: 10.0**power),
    st.sampled_from([*VIDEO_ENDINGS, *VIDEO_CODECS, *TONE_MAPS, *PREFERENCES]),
)


@given(
    asked=st.fixed_dictionaries(
        {}, optional={field.name: ANYTHING for field in fields(JobSettings)}
    )
)
@example(asked={"frame_memory": 1 << 64})
@example(asked={"frame_timeout": 1e12})
@example(asked={"stall_timeout": 10**400})
@example(asked={"fps": "1e-50"})
@example(asked={"fps": "3." + "1" * 41})
@example(asked={"fps": 10**5000})
@example(asked={"max_usd": 1e13})
@example(asked={"seconds_per_frame": 1e12})
@example(asked={"video": None, "crf": 1 << 60})
def test_whatever_the_settings_accept_comes_back_from_job_json(
    asked: dict[str, Any], scratch: FolderStorage
):
    settings = JobSettings()
    for name, value in asked.items():
        with suppress(InputError):
            settings = replace(settings, **{name: value})

    manifest = make_manifest("job", 2, settings=settings, cloud_run=fleet_of(settings))
    scratch.delete(layout.job_manifest("job"))
    write_manifest(scratch, manifest, [])

    assert read_manifest(scratch, "job") == manifest


def said(settings: JobSettings) -> dict[str, object]:
    """The settings by the names and units of options and flow parameters."""
    named = {field.name: getattr(settings, field.name) for field in fields(settings)}
    named["max_cost"] = named.pop("max_usd")
    named["video"] = settings.video or "none"
    if settings.frame_memory is not None:
        named["frame_memory"] = settings.frame_memory / (1 << 30)
    return named


@given(settings=job_settings())
@example(settings=DIFFERENT)
def test_every_field_of_the_settings_comes_back_from_job_json(
    settings: JobSettings, scratch: FolderStorage
):
    manifest = make_manifest("job", 2, settings=settings, cloud_run=fleet_of(settings))
    scratch.delete(layout.job_manifest("job"))
    write_manifest(scratch, manifest, [])

    assert read_manifest(scratch, "job") == manifest


@given(settings=job_settings())
@example(settings=DIFFERENT)
def test_every_field_of_the_settings_can_be_said_on_the_command_line(settings: JobSettings):
    taken: list[JobSettings] = []
    app = typer.Typer()

    @app.command()
    @with_job_options
    def command(*, settings: JobSettings) -> None:
        taken.append(settings)

    words: list[str] = []
    for name, value in said(settings).items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else []
        elif value is not None:
            words += [option, str(value)]
    done = typer.testing.CliRunner().invoke(app, words)

    assert done.exit_code == 0, done.output
    # No word says "no limit" where there is one by default.
    unsaid = {} if settings.stall_timeout else {"stall_timeout": JobSettings().stall_timeout}
    assert taken == [replace(settings, **unsaid)]


@given(settings=job_settings())
@example(settings=DIFFERENT)
def test_every_field_of_the_settings_can_be_a_parameter_of_the_flow(settings: JobSettings):
    given_as_json = json.loads(json.dumps({"scene": "file:///a.pov", **said(settings)}))

    parameters = render_scene.render_scene.validate_parameters(given_as_json)

    names = said(settings)
    made = settings_of_options(
        **{name: parameters[name] for name in names},
        lean="",
        default_preference="cheapest",
    )
    assert made == settings
