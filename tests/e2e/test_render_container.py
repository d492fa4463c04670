"""The render container for real: its image is built, and runs waves from a real storage server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests
from PIL import Image

from povstorm_client.cloud_run.wave_share import WaveFrame, WaveShare, write_wave
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.shared_resources import stage, upload_missing
from povstorm_client.programs.tools import require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage
from povstorm_client.version import povstorm_version
from render_image.render_unit import render_unit
from tests.conftest import SPHERE
from tests.emulators.cloud_run.server import CloudRunServer
from tests.emulators.container.render_container import RenderContainer, task_environment
from tests.emulators.gcs.server import GcsServer

JOB = "orbit-1"
ENDLESS = "#version 3.7;\n#while (1) #end\n"
# Two gigabytes of pointers, which POV-Ray sets one by one.
HUNGRY = "#version 3.7;\n#declare A = array[250000000];\n"
# A scene in two files, of which the frames share one.
WITH_INCLUDE = '#version 3.7;\n#include "shared/sphere.inc"\n'


@pytest.fixture
def wave(gcs_storage: GcsStorage, sphere_unit):
    """A function that stores the shares of a wave, frame → scene; returns the wave's uri."""

    def make(*shares: dict[int, str], shared: str = "", wave_id: str = "w1") -> str:
        prefix = layout.wave(JOB, wave_id)
        stored = []
        for scenes in shares:
            frames = tuple(
                WaveFrame(unit, attempt=1, final_attempt=True, queued_since=time.time())
                for unit in units(sphere_unit, scenes, shared)
            )
            stored.append(WaveShare(frames, frame_timeout=None))
        write_wave(gcs_storage, prefix, stored)
        return f"{gcs_storage.uri}/{prefix}"

    return make


@pytest.fixture
def start(render_container: RenderContainer, gcs_server: GcsServer):
    """A function that starts a container with a read-only root; what runs on is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(
        *arguments: str, index: int = 0, options: tuple[str, ...] = (), storage: str = ""
    ) -> subprocess.Popen[str]:
        environment = task_environment(
            storage_emulator=storage or gcs_server.url, index=index, count=2
        )
        command = render_container.command(*arguments, environment=environment, options=options)
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start):
    """A function that runs a container to its end; returns its exit status and log lines."""

    def begin_and_wait(*arguments: str, **options) -> tuple[int, list[dict]]:
        process = start(*arguments, **options)
        output, errors = process.communicate(timeout=120)
        assert errors == ""
        return process.returncode, [json.loads(line) for line in output.splitlines()]

    return begin_and_wait


@pytest.fixture
def inside(render_container: RenderContainer):
    """A function that runs a program in the container, which then may write where it can."""

    def execute(*program: str) -> str:
        command = render_container.command(
            *program[1:], options=(f"--entrypoint={program[0]}",), read_only=False
        )
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return execute


def units(sphere_unit, scenes: dict[int, str], shared: str = "") -> list[WorkUnit]:
    return [
        sphere_unit(frame, scene).assigned(
            job_id=JOB, shared_prefix=shared, offload_prefix=layout.output(JOB)
        )
        for frame, scene in scenes.items()
    ]


def stored(storage: Storage) -> dict[int, dict]:
    results = [json.loads(storage.read(entry.key)) for entry in storage.list(layout.results(JOB))]
    return {result["frame"]: result for result in results}


def wait_for_frame(frame: int, storage: Storage) -> None:
    deadline = time.monotonic() + 60
    while frame not in stored(storage):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def execute(cloud: CloudRunServer, job: str, wave_uri: str) -> dict:
    """Run the job to the end of its execution, which is returned."""
    api = f"{cloud.rest_url}/v2"
    overrides = {"taskCount": 1, "containerOverrides": [{"args": [wave_uri]}]}
    answer = requests.post(f"{api}/{job}:run", json={"overrides": overrides}, timeout=30)
    answer.raise_for_status()
    deadline = time.monotonic() + 60
    while True:
        found = requests.get(f"{api}/{answer.json()['metadata']['name']}", timeout=30).json()
        if "completionTime" in found:
            return found
        assert time.monotonic() < deadline
        time.sleep(0.1)


def runs_with(argument: str) -> bool:
    """Whether a process, in a container or not, has it in its command line."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if argument.encode() in process.read_bytes():
                return True
    return False


def pixels(storage: Storage, image: str, scratch: Path) -> bytes:
    storage.download(f"{layout.output(JOB)}/{image}", scratch / image)
    with Image.open(scratch / image) as picture:
        return picture.tobytes()


def test_it_tells_its_versions(render_container: RenderContainer):
    done = subprocess.run(
        render_container.command("--version"), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"povstorm {povstorm_version()} povray 3.7")


def test_a_task_renders_its_share_with_the_pixels_of_a_local_render(
    run, wave, gcs_storage: GcsStorage, storage: FolderStorage, sphere_unit, tmp_path: Path
):
    include = tmp_path / "sphere.inc"
    include.write_text(SPHERE)
    for place in (gcs_storage, storage):
        shared = stage(place, upload_missing(place, {"sphere.inc": include}))
    scenes = {2: WITH_INCLUDE, 4: WITH_INCLUDE}
    for unit in units(sphere_unit, scenes, shared):
        asyncio.run(render_unit(unit, storage, require_povray()))

    status, lines = run(wave({1: SPHERE}, scenes, shared=shared), index=1)

    assert status == 0
    results = stored(gcs_storage)
    assert {frame: result["state"] for frame, result in results.items()} == {
        2: "rendered",
        4: "rendered",
    }
    for result in results.values():
        assert pixels(gcs_storage, result["image"], tmp_path) == pixels(
            storage, result["image"], tmp_path
        )
        assert result["host"] == "povstorm-render-2g-abcde/task-1"
    labels = [line["logging.googleapis.com/labels"] for line in lines]
    assert {label["frame"] for label in labels} == {"2", "4"}
    assert {label["job"] for label in labels} == {JOB}
    assert {line["severity"] for line in lines} == {"INFO"}


def test_a_failed_frame_is_a_result_and_no_broken_container(run, wave, gcs_storage: GcsStorage):
    status, lines = run(wave({1: "sphere {", 2: SPHERE}))

    assert status == 0
    results = stored(gcs_storage)
    assert (results[1]["state"], results[2]["state"]) == ("failed", "rendered")
    assert "Parse Error" in results[1]["error"]
    assert [line["severity"] for line in lines].count("ERROR") == 1


def test_a_scene_sees_nothing_of_the_container(run, wave, gcs_storage: GcsStorage):
    reading = '#fopen FILE "/opt/povstorm/render_image/entrypoint.py" read\n'

    status, _ = run(wave({1: SPHERE + reading}))

    assert status == 0
    result = stored(gcs_storage)[1]
    assert result["state"] == "failed"
    assert "Cannot open user file" in result["log_tail"]


def test_where_bubblewrap_cannot_work_frames_are_rendered_with_one_warning(
    run, wave, gcs_storage: GcsStorage
):
    scenes = dict.fromkeys((1, 2, 3), SPHERE)

    status, lines = run(wave(scenes), options=("--volume=/bin/false:/usr/bin/bwrap:ro",))

    assert status == 0
    assert {result["state"] for result in stored(gcs_storage).values()} == {"rendered"}
    (warning,) = [line for line in lines if line["severity"] != "INFO"]
    assert warning["severity"] == "WARNING"
    assert "uncontained" in warning["message"]


def test_a_frame_that_needs_more_memory_than_there_is_costs_its_container_at_most(
    start, wave, gcs_storage: GcsStorage
):
    process = start(wave({1: HUNGRY, 2: SPHERE}), options=("--memory=512m", "--memory-swap=512m"))

    process.communicate(timeout=120)

    # The kernel kills POV-Ray, and now and then the container's first process after it.
    results = stored(gcs_storage)
    if process.returncode == 0:
        assert (results[1]["state"], results[2]["state"]) == ("failed", "rendered")
        assert "lack of memory" in results[1]["error"]
        assert results[1]["out_of_memory"]
    else:
        assert process.returncode == 128 + signal.SIGKILL
        assert results.get(1, {}).get("state") != "rendered"


def test_a_container_that_is_killed_for_its_memory_ends_with_137(
    start, wave, gcs_storage: GcsStorage
):
    process = start(wave({1: SPHERE}), options=("--memory=24m", "--memory-swap=24m"))

    process.communicate(timeout=60)

    assert process.returncode == 128 + signal.SIGKILL
    assert stored(gcs_storage) == {}


def test_sigterm_ends_the_container_in_time_and_keeps_what_is_finished(
    start, wave, gcs_storage: GcsStorage
):
    process = start(wave({1: SPHERE, 2: ENDLESS}))
    wait_for_frame(1, gcs_storage)

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=10)

    assert process.returncode == 128 + signal.SIGTERM
    assert list(stored(gcs_storage)) == [1]
    assert json.loads(output.splitlines()[-1])["severity"] == "WARNING"


def test_sigterm_ends_the_container_in_time_even_if_the_storage_is_silent(start):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        process = start(
            "gs://bucket/jobs/a/waves/w", storage=f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        connection, _ = silent.accept()

        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        connection.close()

    assert process.returncode == 128 + signal.SIGTERM


def test_the_stand_in_for_cloud_run_runs_and_loses_containers_of_the_image(
    render_container: RenderContainer, gcs_server: GcsServer, wave, gcs_storage: GcsStorage
):
    uri = wave({1: SPHERE})
    endless = wave({2: ENDLESS}, wave_id="w2")
    command = render_container.command_in_stand_in()
    with CloudRunServer(command, {"STORAGE_EMULATOR_HOST": gcs_server.url}) as cloud:
        job = cloud.create_job("render")
        whole = execute(cloud, job, uri)
        cloud.set_knobs(kill_probability=1.0, kill_after_seconds=1.0)
        lost = execute(cloud, job, endless)

    assert whole["succeededCount"] == 1
    assert stored(gcs_storage)[1]["state"] == "rendered"
    assert lost["failedCount"] == 1
    deadline = time.monotonic() + 30
    while runs_with(endless):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "usage"),
        (["gs://nowhere"], "no wave"),
        (["gs://nowhere/jobs/a/waves/w"], "jobs/a/waves/w/00000.json"),
    ],
)
def test_a_container_that_cannot_work_says_why(run, arguments: list[str], words: str):
    status, lines = run(*arguments)

    assert status == 1
    assert words in lines[-1]["message"]
    assert lines[-1]["severity"] == "CRITICAL"


def test_it_is_not_root_and_can_write_to_temporary_folders_only(inside):
    writable = inside(
        "python3",
        "-c",
        "import os, tempfile\n"
        "assert os.getuid() != 0 != os.getgid() and os.getgroups() in ([], [os.getgid()])\n"
        "for folder, _, _ in os.walk('/'):\n"
        "    try:\n"
        "        tempfile.TemporaryFile(dir=folder).close()\n"
        "        print(folder)\n"
        "    except OSError:\n"
        "        pass\n",
    ).split()
    # Shared memory is the runtime's.
    assert set(writable) - {"/dev/shm", "/dev/mqueue"} == {"/tmp"}


def test_no_program_in_it_makes_its_user_another(inside):
    found = inside("sh", "-c", "find / -xdev -type f -perm /6000 2>/dev/null || true")
    assert found == ""


def test_it_holds_no_prefect_and_no_credentials(inside):
    modules = ["prefect", "prefect_gcp", "pydantic", "typer", "rich", "flows", "tasks", "tests"]
    held = inside(
        "python3",
        "-c",
        "import importlib.util, os\n"
        f"print([m for m in {modules} if importlib.util.find_spec(m)])\n"
        "print([n for n in os.environ if 'GOOGLE' in n or 'CLOUDSDK' in n or 'PREFECT' in n])\n"
        "print([f for f, _, names in os.walk('/') for n in names\n"
        "       if n in {'application_default_credentials.json', '.env', '.netrc', 'pip.conf'}])\n",
    )
    assert held.split() == ["[]", "[]", "[]"]


def test_all_that_it_imports_is_compiled(inside):
    missing = inside(
        "python3",
        "-c",
        "import sys, os, PIL.PngImagePlugin, google.cloud.storage, render_image.entrypoint\n"
        "loaded = [m.__spec__ for m in sys.modules.values() if getattr(m, '__spec__', None)]\n"
        "print([s.name for s in loaded if s.cached and not os.path.exists(s.cached)])\n"
        "assert len(loaded) > 200\n",
    )
    assert missing.strip() == "[]"
