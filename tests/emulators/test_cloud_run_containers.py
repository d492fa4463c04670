"""How the Cloud Run stand-in runs attempts: as processes, and in real containers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.emulators.cloud_run.containers import ContainerEnd, ContainerSpec
from tests.emulators.cloud_run.process_containers import ProcessContainers
from tests.emulators.cloud_run.server import ROOT, CloudRunServer
from tests.emulators.container.built_image import CannotRunContainersError
from tests.emulators.container.render_container import build_render_container

PYTHON = (sys.executable, "-c", "import sys; exec(sys.argv[1])")
ULIMITS = ("--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000")
SHELL = "/usr/bin/dash"


def spec_of(*arguments: str, command: tuple[str, ...] = (), **variables: str) -> ContainerSpec:
    return ContainerSpec(
        image="localhost/shell",
        command=command,
        arguments=arguments,
        environment=variables,
        memory_mib=64,
        cpus=1,
        job="job",
        execution="job-abcde",
        index=0,
        count=1,
        attempt=0,
    )


def run(containers: ProcessContainers, spec: ContainerSpec) -> ContainerEnd:
    return asyncio.run(containers.run(spec))


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 30
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return path.read_text()


def wait_until_gone(process: int) -> None:
    deadline = time.monotonic() + 30
    while psutil.pid_exists(process):
        assert time.monotonic() < deadline, f"process {process} is still there"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("program", "end"),
    [
        ("pass", ContainerEnd()),
        ("raise SystemExit(3)", ContainerEnd(exit_code=3)),
        ("raise SystemExit(137)", ContainerEnd(out_of_memory=True)),
        ("import os; os.abort()", ContainerEnd(term_signal=6)),
    ],
)
def test_a_process_ends_as_it_ends(program: str, end: ContainerEnd):
    assert run(ProcessContainers(PYTHON, {}), spec_of(program)) == end


def test_a_program_that_is_not_there_is_not_started():
    end = run(ProcessContainers(["/nowhere/program"], {}), spec_of())

    assert "/nowhere/program" in end.not_started
    assert not end.succeeded


def test_a_process_has_the_variables_of_its_container_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    program = (
        "import os, pathlib; "
        f"pathlib.Path({str(tmp_path / 'out')!r}).write_text(' '.join(sorted(os.environ)))"
    )

    run(ProcessContainers(PYTHON, {"OF_ALL": "1"}), spec_of(program, OF_ONE="2"))

    # Python sets LC_CTYPE itself.
    names = set((tmp_path / "out").read_text().split()) - {"LC_CTYPE"}
    assert names == {"HOME", "OF_ALL", "OF_ONE", "PATH", "TMPDIR"}


def test_a_jobs_command_replaces_the_images(tmp_path):
    file = tmp_path / "made"

    run(ProcessContainers(["/bin/false"], {}), spec_of(str(file), command=("touch",)))

    assert file.exists()


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(tmp_path):
    program = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )

    async def stopped() -> int:
        containers = ProcessContainers(PYTHON, {}, grace_seconds=0.2)
        running = asyncio.ensure_future(containers.run(spec_of(program)))
        process = int(await asyncio.to_thread(wait_for, tmp_path / "pid"))
        running.cancel()
        await asyncio.wait({running})
        return process

    assert not psutil.pid_exists(asyncio.run(stopped()))


def test_sigterm_comes_first_and_lets_a_process_finish(tmp_path):
    program = (
        "import pathlib, signal, sys, time; "
        f"done, ready = pathlib.Path({str(tmp_path / 'done')!r}), "
        f"pathlib.Path({str(tmp_path / 'ready')!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: (done.write_text('tidied'), sys.exit(0)))\n"
        "ready.write_text('yes'); time.sleep(600)"
    )

    async def stopped() -> None:
        running = asyncio.ensure_future(ProcessContainers(PYTHON, {}).run(spec_of(program)))
        await asyncio.to_thread(wait_for, tmp_path / "ready")
        running.cancel()
        await asyncio.wait({running})

    asyncio.run(stopped())
    assert (tmp_path / "done").read_text() == "tidied"


@pytest.mark.parametrize(
    "holds",
    [
        "held = b'x' * (100 << 20)",
        "open(os.environ['TMPDIR'] + '/file', 'wb').write(bytes(100 << 20))",
        "subprocess.Popen([sys.executable, '-c', 'held = [1] * (100 << 17); input()'], stdin=-1)",
    ],
    ids=["itself", "in its files", "in a process that it started"],
)
def test_a_container_that_holds_more_than_its_memory_is_ended_as_a_whole(holds: str):
    containers = ProcessContainers(PYTHON, {})
    program = f"import os, subprocess, sys, time; {holds}; time.sleep(600)"

    ends = [run(containers, spec_of(program)) for _ in range(2)]

    assert ends == [
        ContainerEnd(out_of_memory=True, signal_told=True),
        ContainerEnd(out_of_memory=True, signal_told=False),
    ]


def test_a_container_that_is_moved_is_told_before_and_stands_still_meanwhile(tmp_path):
    program = (
        "import pathlib, signal, sys, time; said = []\n"
        f"done, ready = pathlib.Path({str(tmp_path / 'done')!r}), "
        f"pathlib.Path({str(tmp_path / 'ready')!r})\n"
        "signal.signal(signal.SIGTSTP, lambda *_: said.append(('told', time.monotonic())))\n"
        "signal.signal(signal.SIGCONT, lambda *_: said.append(('moved', time.monotonic())))\n"
        "ready.write_text('yes'); looks = [time.monotonic()]\n"
        "while len(said) < 2: time.sleep(0.01); looks.append(time.monotonic())\n"
        "gap = max(b - a for a, b in zip(looks, looks[1:]))\n"
        "done.write_text(f'{said[0][0]} {said[1][0]} {said[1][1] - said[0][1] > 1.4} {gap > 0.9}')"
    )

    async def moved() -> ContainerEnd:
        containers = ProcessContainers(PYTHON, {})
        spec = spec_of(program)
        running = asyncio.ensure_future(containers.run(spec))
        await asyncio.to_thread(wait_for, tmp_path / "ready")
        await containers.move(spec, notice=0.5, pause=1.0)
        return await running

    assert asyncio.run(moved()).succeeded
    assert (tmp_path / "done").read_text() == "told moved True True"


@pytest.mark.parametrize(
    "child",
    [
        "subprocess.Popen(['sleep', '600'])",
        "subprocess.Popen(['sh', '-c', 'sleep 600; true', os.environ['TMPDIR']], process_group=0)",
    ],
    ids=["in its group", "in its temporary folder"],
)
def test_what_a_container_started_ends_with_it(tmp_path, child):
    program = (
        "import os, pathlib, subprocess; "
        f"child = {child}; "
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))"
    )

    assert run(ProcessContainers(PYTHON, {}), spec_of(program)).succeeded

    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_server_whose_user_was_killed_stops_and_leaves_no_process(tmp_path):
    program = f"""
import sys, time
from tests.emulators.cloud_run.server import CloudRunServer
import requests
task = (
    "import os, time; open({str(tmp_path / "pid")!r}, 'w').write(str(os.getpid())); "
    "time.sleep(600)"
)
server = CloudRunServer({PYTHON!r}).__enter__()
body = {{"overrides": {{"containerOverrides": [{{"args": [task]}}]}}}}
requests.post(f"{{server.rest_url}}/v2/{{server.create_job('left')}}:run", json=body, timeout=30)
time.sleep(600)
"""
    user = subprocess.Popen(
        [sys.executable, "-P", "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    task = int(wait_for(tmp_path / "pid"))
    server = psutil.Process(task).ppid()

    user.kill()
    user.wait()

    wait_until_gone(task)
    wait_until_gone(server)


def test_what_a_container_or_its_runtime_leaves_in_its_current_folder_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """podman's monitor notes there that memory ran out: a file of nobody's in the repository."""
    monkeypatch.chdir(tmp_path)
    program = "open('oom', 'w')"
    runtime = [*PYTHON, program, "{image}"]

    assert run(ProcessContainers(PYTHON, {}), spec_of(program)).succeeded
    assert run(ProcessContainers(runtime, {}), spec_of()).succeeded

    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """podman with folders of its own, and an image of nothing but a shell and ``sleep``."""
    with contextlib.suppress(CannotRunContainersError):
        # Where it can be had, podman comes with what builds the image.
        build_render_container()
    if os.getuid() != 0 or not all(shutil.which(name) for name in ("podman", "runc")):
        pytest.skip("containers need root, podman and runc (apt install podman runc)")
    folder = tmp_path_factory.mktemp("podman")
    # podman takes no longer path for what runs.
    run_root = tempfile.mkdtemp(prefix="povstorm-")
    engine = (
        *("podman", "--root", str(folder / "root"), "--runroot", run_root),
        *("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "runc"),
    )
    programs = (SHELL, "/usr/bin/sleep")
    linked = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True)
    libraries = {word for word in linked.stdout.split() if word.startswith("/") and ":" not in word}
    with tarfile.open(folder / "image.tar", "w") as image:
        for file in (*programs, *libraries):
            image.add(os.path.realpath(file), arcname=file.lstrip("/"))
    made = [*engine, "import", str(folder / "image.tar"), "localhost/shell"]
    imported = subprocess.run(made, capture_output=True, text=True, check=False)
    assert imported.returncode == 0, imported.stderr
    probe = [*engine, "run", "--rm", "--network=none", *ULIMITS, "localhost/shell", SHELL, "-c", ""]
    started = subprocess.run(probe, capture_output=True, text=True, check=False)
    if started.returncode != 0:
        pytest.skip(f"podman starts no containers here: {started.stderr.strip()}")
    yield engine
    subprocess.run([*engine, "rmi", "--all", "--force"], check=False, capture_output=True)
    shutil.rmtree(run_root)


def in_podman(engine: tuple[str, ...]) -> tuple[str, ...]:
    memory = ("--memory={memory}", "--memory-swap={memory}")
    walls = ("--network=host", "--read-only", *ULIMITS)
    name = ("--name={name}", "{environment}", "{image}")
    return (*engine, "run", *walls, *memory, *name, SHELL, "-c")


def execute(server: CloudRunServer, job: str, script: str, **overrides: Any) -> dict[str, Any]:
    """Run a script in a container to its end; its task."""
    body = {"overrides": {"containerOverrides": [{"args": [script]}], **overrides}}
    started = requests.post(f"{server.rest_url}/v2/{job}:run", json=body, timeout=30).json()
    operation = {"done": False}
    while not operation.get("done"):
        operation = requests.post(
            f"{server.rest_url}/v2/{started['name']}:wait", json={"timeout": "60s"}, timeout=90
        ).json()
    execution = operation["metadata"]
    url = f"{server.rest_url}/v2/{execution['name']}/tasks"
    (task,) = requests.get(url, timeout=30).json()["tasks"]
    return task


def containers_of(engine: tuple[str, ...]) -> list[str]:
    listed = [*engine, "ps", "--all", "--quiet"]
    return subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()


def test_containers_end_as_processes_do_and_memory_by_the_kernel(podman: tuple[str, ...]):
    """The limit is the job's: the kernel ends what needs more of it."""
    with CloudRunServer(in_podman(podman), engine=podman) as server:
        job = server.create_job("shell", image="localhost/shell", memory="512Mi")
        fine = execute(server, job, '[ "$CLOUD_RUN_TASK_COUNT" = 1 ] && exit 0 || exit 4')
        failed = execute(server, job, "exit 3")
        greedy = execute(server, job, "x=aaaaaaaa; while :; do x=$x$x; done")

    assert fine["lastAttemptResult"] == {"status": {}}
    assert failed["lastAttemptResult"]["exitCode"] == 3
    message = greedy["lastAttemptResult"]["status"]["message"]
    assert message == "The configured memory limit was reached."
    assert containers_of(podman) == []


def test_containers_that_are_lost_stopped_or_left_are_removed(podman: tuple[str, ...]):
    forever = "sleep 600"
    with CloudRunServer(in_podman(podman), engine=podman, grace_seconds=0.5) as server:
        job = server.create_job("shell", image="localhost/shell")
        late = execute(server, job, forever, timeout="1s")
        server.set_knobs(kill_probability=1.0, kill_after_seconds=1.0)
        lost = execute(server, job, forever)
        assert containers_of(podman) == []
        server.set_knobs(kill_probability=0.0)
        body = {"overrides": {"containerOverrides": [{"args": [forever]}]}}
        requests.post(f"{server.rest_url}/v2/{job}:run", json=body, timeout=30)
        deadline = time.monotonic() + 30
        while not containers_of(podman):
            assert time.monotonic() < deadline

    assert "timeout" in late["lastAttemptResult"]["status"]["message"]
    assert lost["lastAttemptResult"]["termSignal"] == 9
    assert containers_of(podman) == []
