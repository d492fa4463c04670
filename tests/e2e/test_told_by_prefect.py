"""A Prefect server with `povstorm notify` tells of each job that ends, whoever waits for it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from povstorm_client import InputError, Job, JobError
from povstorm_client.command_line import app
from povstorm_client.launch.prefect_notification import BLOCK
from tests.webhook import Hook, hook

__all__ = ["hook"]

# Prefect looks at its events in its own time, and the machine may have other work.
TOLD_SECONDS = 300


def povstorm_notify(*words: str) -> list[str]:
    done = CliRunner().invoke(app, ["notify", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


@pytest.fixture(autouse=True)
def nobody_told_afterwards(on_server: str) -> Iterator[None]:
    yield
    povstorm_notify("--off")


def news(hook: Hook, about: Job) -> dict[str, str]:
    """What the webhook is told of the job."""
    deadline = time.monotonic() + TOLD_SECONDS
    while True:
        found = [told for told in hook.taken if about.job_id in told["title"]]
        if found:
            assert len(found) == 1
            return found[0]
        assert time.monotonic() < deadline, f"nobody was told of {about.job_id}: {hook.taken}"
        time.sleep(0.1)


def report_of(job: Job) -> str:
    return f"{job.cluster.storage_uri}/jobs/{job.job_id}/report.html"


def test_a_webhook_is_told_of_a_job_that_completes_and_one_that_fails(
    sphere_job, hook: Hook, on_server: str
):
    assert povstorm_notify(f"{hook.url}?token=s3cret") == [
        f"server  {on_server}",
        f"told    webhook/{BLOCK}, of each job that ends; --off ends that",
    ]
    assert hook.taken.pop()["title"] == "povstorm: you will be told here"
    good = sphere_job("good", frames=2)
    bad = sphere_job("bad", frames=2, scenes={2: '#include "no\\"where.inc"\n'})

    good.run(show_progress=False)
    with pytest.raises(JobError):
        bad.run(show_progress=False)

    told = news(hook, good)
    assert told["title"] == f"povstorm: {good.job_id} completed"
    assert (told["job"], told["state"], told["type"]) == (good.job_id, "completed", "success")
    assert told["reason"] == "2 of 2 frames"
    assert told["report"] == report_of(good)
    assert Path(told["report"].removeprefix("file://")).is_file()
    assert told["message"].splitlines()[:2] == ["2 of 2 frames", f"report: {report_of(good)}"]

    told = news(hook, bad)
    assert (told["job"], told["state"], told["type"]) == (bad.job_id, "failed", "failure")
    assert told["reason"].startswith(
        "1 of 2 frames was not rendered: 2; frame 2: File 'sphere.pov'"
    )
    assert "Cannot open include file no" in told["reason"], "POV-Ray's own line"
    assert told["message"].startswith(told["reason"])


def test_a_block_of_prefects_is_told_the_same_in_place_of_who_was_told_before(
    sphere_job, hook: Hook, on_server: str
):
    other = CustomWebhookNotificationBlock(
        name="team",
        url=hook.url,
        json_data={"title": "{{subject}}", "message": "{{body}}", "by": "a block"},
    )
    with temporary_settings({PREFECT_API_URL: on_server}):
        other.save("team", overwrite=True)
    povstorm_notify(hook.url)
    assert "custom-webhook/team" in povstorm_notify("custom-webhook/team")[1]
    job = sphere_job("block", frames=1)

    job.run(show_progress=False)

    told = news(hook, job)
    assert told == {
        "title": f"povstorm: {job.job_id} completed",
        "message": told["message"],
        "by": "a block",
    }
    assert told["message"].splitlines()[:2] == ["1 of 1 frame", f"report: {report_of(job)}"]


def test_nobody_is_told_any_more_once_that_is_ended(hook: Hook, on_server: str):
    assert povstorm_notify()[1] == "told    nobody"
    povstorm_notify(hook.url)
    assert povstorm_notify("--off")[1] == "told    nobody"
    assert povstorm_notify("--off")[1] == "told    nobody, as before"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("ftp://somewhere/s3cret", "ftp://… is no address that Prefect calls"),
        ("slack-webhook/nobody", "neither an address nor a block"),
        ("nonsense", "neither an address nor a block"),
        ("http://127.0.0.1:9/s3cret", "does not answer: ConnectError"),
        ("http://[::1", "http://… has no host that can be read"),
        ("http://127.0.0.1:99999/s3cret", "http://… has no usable port"),
        ("http://127.0.0.1:9/s3cret\x01", "http://… has a control character in it"),
    ],
)
def test_who_cannot_be_told_is_refused_at_once(target: str, words: str, on_server: str):
    with pytest.raises(InputError) as refused:
        povstorm_notify(target)
    assert words in str(refused.value)
    assert "s3cret" not in str(refused.value)
    assert povstorm_notify()[1] == "told    nobody"


def test_a_service_that_refuses_the_first_message_is_refused_too(hook: Hook, on_server: str):
    hook.status = 400
    with pytest.raises(InputError, match="answers 400 to a message in JSON") as refused:
        povstorm_notify(f"{hook.url}?token=s3cret")
    assert "s3cret" not in str(refused.value)
    assert json.dumps(hook.taken).count("you will be told here") == 1
