"""The container's entrypoint, run as Cloud Run runs it: a process with a wave and a task index."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from povstorm_client.cloud_run.wave_share import WaveFrame, WaveShare, write_wave
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.programs.memory import total_memory
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tests.conftest import SPHERE

JOB = "orbit-1"
IMAGE = "europe-docker.pkg.dev/p/povstorm/render@sha256:0123"
ENDLESS = "#version 3.7;\n#while (1) #end\n"


@pytest.fixture
def wave(storage: FolderStorage, sphere_unit):
    """A function that stores shares of scenes; returns the wave's uri."""

    def make(*shares: dict[int, str], timeout: float | None = None, frame_bytes: int = 0) -> str:
        prefix = layout.wave(JOB, "w1")
        stored = []
        for scenes in shares:
            frames = tuple(
                WaveFrame(unit_of(sphere_unit, frame, scene), 1, True, time.time())
                for frame, scene in scenes.items()
            )
            share = WaveShare(frames, timeout, frame_bytes=frame_bytes, container_image=IMAGE)
            stored.append(share)
        write_wave(storage, prefix, stored)
        return f"{storage.uri}/{prefix}"

    return make


def unit_of(sphere_unit, frame: int, scene: str = SPHERE) -> WorkUnit:
    return sphere_unit(frame, scene).assigned(
        job_id=JOB, shared_prefix="", offload_prefix=layout.output(JOB)
    )


def start(*arguments: str, index: int = 0, attempt: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "render_image.entrypoint", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "CLOUD_RUN_EXECUTION": "render-abc",
            "CLOUD_RUN_TASK_INDEX": str(index),
            "CLOUD_RUN_TASK_COUNT": "2",
            "CLOUD_RUN_TASK_ATTEMPT": str(attempt),
        },
    )


def run(*arguments: str, **options: int) -> tuple[int, list[dict]]:
    with start(*arguments, **options) as process:
        output, errors = process.communicate(timeout=120)
    assert errors == ""
    return process.returncode, [json.loads(line) for line in output.splitlines()]


def stored(storage: FolderStorage) -> dict[int, dict]:
    results = [json.loads(storage.read(entry.key)) for entry in storage.list(layout.results(JOB))]
    return {result["frame"]: result for result in results}


def test_a_task_renders_its_share(storage: FolderStorage, wave):
    uri = wave({1: SPHERE}, {2: SPHERE, 4: SPHERE})

    status, lines = run(uri, index=1)

    assert status == 0
    assert {frame: result["state"] for frame, result in stored(storage).items()} == {
        2: "rendered",
        4: "rendered",
    }
    assert stored(storage)[2]["host"] == "render-abc/task-1"
    assert stored(storage)[2]["container_image"] == IMAGE
    assert {line["logging.googleapis.com/labels"].get("frame") for line in lines} == {"2", "4"}
    for line in lines:
        assert line["severity"] == "INFO"
        assert line["logging.googleapis.com/labels"]["job"] == JOB


def test_no_more_frames_are_in_work_than_have_room(storage: FolderStorage, wave):
    scenes = dict.fromkeys(range(1, 5), SPHERE)

    status, _ = run(wave(scenes, frame_bytes=total_memory() * 2 // 3))

    assert status == 0
    results = sorted(stored(storage).values(), key=lambda result: result["started"])
    assert len(results) == 4
    for earlier, later in itertools.pairwise(results):
        assert earlier["ended"] <= later["started"]


def test_a_task_that_is_done_helps_another(storage: FolderStorage, wave):
    uri = wave({1: SPHERE, 2: SPHERE}, {3: SPHERE, 4: SPHERE})

    assert run(uri, index=1)[0] == 0
    assert sorted(stored(storage)) == [2, 3, 4]

    assert run(uri, index=0)[0] == 0
    hosts = {frame: result["host"] for frame, result in stored(storage).items()}
    assert hosts == {
        frame: f"render-abc/task-{task}" for frame, task in {1: 0, 2: 1, 3: 1, 4: 1}.items()
    }


def test_a_failed_frame_is_a_result_and_no_broken_container(storage: FolderStorage, wave):
    status, lines = run(wave({1: "sphere {", 2: SPHERE}))

    assert status == 0
    results = stored(storage)
    assert results[1]["state"] == "failed"
    assert "Parse Error" in results[1]["error"]
    assert results[2]["state"] == "rendered"
    (error,) = [line for line in lines if line["severity"] == "ERROR"]
    assert "Parse Error" in error["message"]


def test_a_task_that_is_tried_again_leaves_out_what_is_rendered(storage: FolderStorage, wave):
    uri = wave({1: SPHERE, 2: SPHERE})
    run(uri)
    before = stored(storage)
    storage.delete(layout.result(JOB, before[2]["work_unit_id"]))

    run(uri, attempt=1)

    after = stored(storage)
    assert after[1] == before[1]
    assert after[2]["started"] > before[2]["started"]


def test_sigterm_gives_up_what_is_not_finished(storage: FolderStorage, wave):
    with start(wave({1: SPHERE, 2: ENDLESS})) as process:
        deadline = time.monotonic() + 60
        while 1 not in stored(storage):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=10)

    assert process.returncode == 143
    assert list(stored(storage)) == [1]
    assert json.loads(output.splitlines()[-1])["severity"] == "WARNING"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage"),
        (["nonsense"], "no wave"),
        (["ftp://x/jobs/a/waves/w"], "ftp://"),
    ],
)
def test_a_container_that_cannot_work_says_why(arguments: list[str], words: str):
    status, lines = run(*arguments)

    assert status == 1
    assert words in lines[-1]["message"]
    assert lines[-1]["severity"] == "CRITICAL"


def test_a_wave_that_is_not_there_is_named(storage: FolderStorage):
    status, lines = run(f"{storage.uri}/jobs/a/waves/w")

    assert status == 1
    assert "jobs/a/waves/w/00000.json" in lines[-1]["message"]


def test_a_share_of_another_job_is_refused(storage: FolderStorage, wave, tmp_path: Path):
    uri = wave({1: SPHERE})
    share = layout.wave_share(layout.wave(JOB, "w1"), 0)
    storage.write(share, storage.read(share).replace(b'"orbit-1"', b'"other-1"'))

    status, lines = run(uri)

    assert status == 1
    assert "another job" in lines[-1]["message"]


def test_it_tells_its_versions():
    done = subprocess.run(
        [sys.executable, "-m", "render_image.entrypoint", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("povstorm ")
    assert " povray 3." in done.stdout
