"""Who gave --notify is told when a job has ended; what prevents that never harms the job."""

from __future__ import annotations

import base64
import io
import json
import socket
import stat
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from povstorm_client import Cluster, InputError, Job
from povstorm_client.command_line import app
from povstorm_client.commands.notification import tell_end, teller
from tests.unit.povstorm_client.jobs.test_notebook import make_job, store_images, store_state
from tests.webhook import Hook, hook

__all__ = ["hook"]

HOSTILE = "Parse Error \x1b[2J: `rm -rf $HOME`"


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    job = make_job(Cluster.local(), 30)
    job.submit()
    store_images(job, 30)
    store_state(job, "completed", 30)
    return job


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A command that writes down what it was told."""
    path = tmp_path / "tell me"
    path.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "told = {k: v for k, v in os.environ.items() if k.startswith('POVSTORM_')}\n"
        "picture = os.path.exists(told['POVSTORM_PICTURE'])\n"
        f"open({str(tmp_path / 'told.json')!r}, 'w').write("
        "json.dumps([sys.argv[1:], told, picture]))\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_webhook_gets_title_text_and_a_picture_of_the_frames(job: Job, hook: Hook):
    done = CliRunner().invoke(app, ["status", job.job_id, "--watch", "--notify", hook.url])
    assert done.exit_code == 0
    [news] = hook.taken
    assert news["title"] == "povstorm: orbit <b> completed"
    assert news["message"] == f"30 of 30 frames\npovstorm fetch {job.job_id}"
    assert news["type"] == "success"
    [picture] = news["attachments"]
    with Image.open(io.BytesIO(base64.b64decode(picture["base64"]))) as image:
        assert image.format == "JPEG"


def test_of_a_failed_job_the_reason_is_told_as_text(job: Job, hook: Hook):
    store_state(job, "failed", 28, failed=2, message=f"{HOSTILE}\nsecond line")
    tell_end(job, teller(hook.url))
    [news] = hook.taken
    assert news["type"] == "failure"
    assert news["title"].endswith(" failed")
    assert news["message"].splitlines() == [
        "28 of 30 frames, 2 failed",
        HOSTILE.replace("\x1b", "?"),
        f"povstorm retry {job.job_id}",
    ]


def test_an_error_that_ended_the_command_is_told_whatever_the_state_says(job: Job, hook: Hook):
    tell_end(job, teller(hook.url), why="the disk is full")
    [news] = hook.taken
    assert "the disk is full" in news["message"]
    assert news["type"] == "failure"


def test_a_command_gets_title_and_text_as_its_last_arguments(
    job: Job, program: Path, tmp_path: Path
):
    store_state(job, "failed", 0, message=HOSTILE)
    tell_end(job, teller(f"'{program}' --urgency low"))
    words, environment, has_picture = json.loads((tmp_path / "told.json").read_text())
    assert words[:2] == ["--urgency", "low"]
    assert words[2] == "povstorm: orbit <b> failed"
    assert HOSTILE.replace("\x1b", "?") in words[3]
    assert environment["POVSTORM_JOB_ID"] == job.job_id
    assert environment["POVSTORM_SUCCESS"] == "0"
    assert has_picture


def test_a_job_without_images_is_told_without_a_picture(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    job = make_job(Cluster.local(), 3)
    job.submit()
    tell_end(job, teller(hook.url), why="nothing renders")
    [news] = hook.taken
    assert news["attachments"] == []


def test_what_cannot_be_told_is_a_warning_and_names_no_secret_of_the_address(
    job: Job, hook: Hook, capsys: pytest.CaptureFixture[str]
):
    hook.status = 500
    tell_end(job, teller(f"{hook.url}?token=s3cret"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        tell_end(job, teller(f"http://127.0.0.1:{unused.getsockname()[1]}/s3cret"))
    tell_end(job, teller("false"))
    said = capsys.readouterr().err
    assert said.count(f"nobody was told that job {job.job_id} has ended") == 3
    assert said.count("\n") == 3
    assert "exit code 1" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("gopher://somewhere/x", "gopher://… is no address that Apprise knows"),
        ("no-such-program-here now", "neither a URL nor a program"),
        ("", "neither a URL nor a program"),
        ("say 'it", "is no command: No closing quotation"),
    ],
)
def test_what_can_tell_nobody_is_refused_at_once(target: str, words: str):
    with pytest.raises(InputError, match=words.replace("…", ".")):
        teller(target)


def test_a_command_with_an_address_that_is_none_renders_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    done = CliRunner().invoke(app, ["render", "anim.ini", "--notify", "gopher://x/y"])
    assert isinstance(done.exception, InputError)
    assert "Apprise" in str(done.exception)


def test_telling_needs_waiting(job: Job, hook: Hook):
    done = CliRunner().invoke(app, ["status", job.job_id, "--notify", hook.url])
    assert isinstance(done.exception, InputError)
    assert "--watch" in str(done.exception)
    assert hook.taken == []
