"""Whoever renders a scene can say all that JobSettings knows, and says it in the same words."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields

import pytest
import typer
import typer.main
from typer.testing import CliRunner

from flows.render_scene import render_scene
from povstorm_client import Cluster, InputError, Job, RenderSettings, StorageError, WorkUnit
from povstorm_client.command_line import app
from povstorm_client.commands.scene_options import with_job_options
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.jobs.manifest import read_manifest
from povstorm_client.scene_job import settings_of_options
from povstorm_client.storage import layout

FIELDS = [field.name for field in fields(JobSettings)]
# The one field that people are asked for by another word: its unit is in the option's help.
OPTIONS = {"max_usd": "max_cost"}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("command", ["render", "submit"])
def test_every_field_is_an_option_of_the_commands_that_make_jobs(command: str, field: str):
    found = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    name = OPTIONS.get(field, field)
    option = next((each for each in found if each.name == name), None)
    assert option is not None
    assert f"--{name.replace('_', '-')}" in option.opts


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_a_parameter_of_the_flow_that_makes_jobs(field: str):
    assert OPTIONS.get(field, field) in inspect.signature(render_scene.fn).parameters


def test_every_field_is_a_keyword_of_a_job_with_the_same_default():
    keywords = inspect.signature(Job).parameters
    for field in fields(JobSettings):
        assert keywords[field.name].default == field.default


def test_commands_and_flow_have_the_defaults_of_the_settings():
    flow = inspect.signature(render_scene.fn).parameters
    for field in fields(JobSettings):
        name = OPTIONS.get(field.name, field.name)
        # Nobody waits for a nightly render.
        expected = "cheapest" if name == "prefer" else field.default
        assert str(flow[name].default) == str(expected)
        for command in ("render", "submit"):
            found = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
            option = next(each for each in found if each.name == name)
            assert str(option.default) == str(field.default)


def test_lean_is_still_taken_for_prefer_and_not_shown(cluster: Cluster):
    assert Job(cluster, "j", lean="fastest").settings.prefer == "fastest"
    with pytest.raises(InputError, match="lean, its older name"):
        Job(cluster, "j", prefer="cheapest", lean="fastest")
    for command in ("render", "submit"):
        found = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
        (lean,) = [each for each in found if each.name == "lean"]
        assert lean.hidden
        assert lean.opts == ["--lean"]


def options(**given: object) -> JobSettings:
    """The settings that options or flow parameters ask for."""
    same = {
        "video": "mp4",
        "frame_memory": None,
        "prefer": "balanced",
        "lean": "",
        "max_cost": None,
    }
    return settings_of_options(**(same | given))  # type: ignore[arg-type]


def test_options_speak_of_gib_none_and_cost():
    settings = settings_of_options(
        video="none", frame_memory=1.5, prefer="balanced", lean="cheapest", max_cost=5.0
    )
    assert settings == JobSettings(video=None, frame_memory=3 << 29, prefer="cheapest", max_usd=5.0)


@pytest.mark.parametrize(
    ("given", "seconds"), [("off", None), (None, None), ("90", 90.0), ("3600.0", 3600.0), (90, 90)]
)
def test_a_stall_timeout_is_seconds_or_off(given: float | str | None, seconds: float | None):
    assert options(stall_timeout=given).stall_timeout == seconds
    parameters = render_scene.validate_parameters({"scene": "a.pov", "stall_timeout": given})
    assert options(stall_timeout=parameters["stall_timeout"]).stall_timeout == seconds


def test_without_a_word_of_it_the_stall_timeout_is_the_settings_own():
    assert options().stall_timeout == JobSettings().stall_timeout


@pytest.mark.parametrize("given", ["", "Off", "none", "0", "-1", "nan", "inf", "1 h"])
def test_what_is_neither_is_refused_with_both(given: str):
    with pytest.raises(InputError, match=r"stall_timeout is .*: give seconds above 0, or off"):
        options(stall_timeout=given)


def test_commands_take_off():
    seen: list[JobSettings] = []

    def command(*, settings: JobSettings) -> None:
        seen.append(settings)

    app = typer.Typer()
    app.command()(with_job_options(command))
    for words in (["--stall-timeout", "off"], ["--stall-timeout", "90"], []):
        assert CliRunner().invoke(app, words).exit_code == 0
    assert [settings.stall_timeout for settings in seen] == [None, 90.0, 3600.0]


@pytest.mark.parametrize("fps", [0, -24, float("nan"), float("inf")])
def test_an_impossible_fps_is_an_input_error(fps: float):
    with pytest.raises(InputError, match="fps"):
        JobSettings(fps=fps)


@pytest.mark.parametrize(
    "change",
    [
        *({"retries": 11}, {"video_ending": "exe"}, {"fps": "1001"}, {"frame_memory": 1}),
        *({"codec": "hevc"}, {"codec": "vp9"}, {"crf": 52}, {"crf": -1}),
        *({"tone_map": "aces"}, {"exposure": 33}, {"exposure": "1"}),
    ],
    ids=str,
)
def test_a_stored_manifest_is_held_to_the_same_bounds(cluster: Cluster, change: dict[str, object]):
    job = Job(cluster, "j", frame_memory=1 << 30, fps="24000/1001")
    unit = WorkUnit(RenderSettings(scene="a.pov"))
    unit.add_inline_resource("a.pov", "")
    job.add_work_unit(unit)
    job.submit()
    assert Job.open(cluster, job.job_id).settings == job.settings
    storage, key = cluster.storage, layout.job_manifest(job.job_id)
    storage.write(key, json.dumps(json.loads(storage.read(key)) | change).encode())
    with pytest.raises(StorageError, match="not readable"):
        read_manifest(storage, job.job_id)
