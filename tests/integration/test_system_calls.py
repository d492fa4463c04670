"""What the kernel offers to one who took POV-Ray over: a real program asks it, in the sandbox."""

from __future__ import annotations

import asyncio
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from povstorm_client import WorkUnit
from povstorm_client.programs.bubblewrap import bubblewrap_problem
from povstorm_client.programs.sandbox_mode import sandbox_mode_here
from povstorm_client.programs.tools import PovRay, require_povray
from povstorm_client.storage.folder import FolderStorage
from render_image.frame_limits import Limits
from render_image.process import ProcessExit, run_process
from render_image.sandbox import Sandbox, open_sandbox
from render_image.system_calls import REFUSED, filter_program
from render_image.workspace import make_workspace

pytestmark = [
    pytest.mark.skipif(bool(bubblewrap_problem()), reason=bubblewrap_problem()),
    pytest.mark.skipif(sandbox_mode_here() == "off", reason="the sandbox is taken away"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.skipif(not filter_program(), reason="no filter for this machine"),
]

PROGRAM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void told(const char *what, long result) {
    printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "done");
    fflush(stdout);
}

static int child(void *unused) { return 0; }

static void *thread(void *unused) { return "ran"; }

static char stack[65536];

int main(int count, char **words) {
    if (!strcmp(words[1], "numbers")) {
        for (int i = 2; i < count; i++) told(words[i], syscall(atol(words[i]), 0, 0, 0, 0, 0, 0));
    } else if (!strcmp(words[1], "deeds")) {
        for (int i = 3; i < 1024; i++)
            if (fcntl(i, F_GETFD) >= 0) printf("inherited %d\n", i);
        void *result = "";
        pthread_t one;
        told("thread", -pthread_create(&one, NULL, thread, NULL));
        pthread_join(one, &result);
        told("malloc", malloc(64 << 20) ? 0 : -1);
        told("memfd", memfd_create("x", 0));
        void *shared = mmap(NULL, 1 << 20, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        told("shared memory", shared == MAP_FAILED ? -1 : 0);
        told("socket", socket(AF_UNIX, SOCK_STREAM, 0));
        told("symlink", symlink("/etc", "output/link"));
        told("pipe file", mkfifo("output/fifo", 0600));
        told("hard link", link("scene", "output/hard"));
        told("process", clone(child, stack + sizeof stack, SIGCHLD, NULL));
        told("user namespace", unshare(CLONE_NEWUSER));
        told("descriptor", open("output/file", O_CREAT | O_WRONLY, 0600) < 0 ? -1 : 0);
    } else if (!strcmp(words[1], "threads")) {
        pthread_t one;
        pthread_attr_t small;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 32768);
        for (;;)
            if (pthread_create(&one, &small, (void *(*)(void *))pause, NULL)) pause();
    }
    return 0;
}
"""
ALLOWED = ["thread", "malloc", "descriptor"]
CONTAINED = ["memfd", "shared memory", "socket", "symlink", "pipe file", "hard link", "process"]


@pytest.fixture(scope="module")
def program() -> Iterator[PovRay]:
    # Not in /tmp, which the sandbox has for itself.
    with tempfile.TemporaryDirectory(prefix="asks-", dir="/var/tmp") as name:
        source = Path(name) / "asks.c"
        source.write_text(PROGRAM)
        made = source.with_suffix("")
        subprocess.run(["cc", "-w", "-pthread", "-o", made, source], check=True, timeout=60)
        yield PovRay(made, "3.7.0.test")


def ask(
    program: PovRay,
    *words: str,
    unit: WorkUnit,
    folder: Path,
    filtered: bool = True,
    locked: bool = True,
    limits: Limits | None = None,
) -> tuple[ProcessExit, list[str]]:
    bwrap = Sandbox(shutil.which("bwrap"), program, filtered=filtered, locked=locked)
    told = folder / "told.txt"

    async def run() -> ProcessExit:
        storage = FolderStorage(folder / "storage")
        with make_workspace(unit, storage, link_shared=False) as workspace:
            (workspace.folder / "scene").write_bytes(b"")
            return await run_process(
                [str(program.path), *words],
                cwd=workspace.folder,
                environment={},
                log=told,
                timeout=60,
                limits=limits,
                folders=[workspace.folder],
                sandbox=partial(bwrap.arguments, workspace, {}),
                system_calls=bwrap.system_calls,
            )

    exited = asyncio.run(run())
    return exited, told.read_text().splitlines()


def test_each_call_on_the_list_is_refused(program: PovRay, sphere_unit, tmp_path: Path):
    column = {"x86_64": 0, "aarch64": 1}[platform.machine()]
    numbers = [str(each[column]) for each in REFUSED.values() if each[column] is not None]
    _, told = ask(program, "numbers", *numbers, unit=sphere_unit(), folder=tmp_path)
    assert told == [f"{number} EPERM" for number in numbers]


def test_what_povray_needs_is_there_and_what_leads_further_is_not(
    program: PovRay, sphere_unit, tmp_path: Path
):
    _, told = ask(program, "deeds", unit=sphere_unit(), folder=tmp_path)
    expected = dict.fromkeys(ALLOWED, "done") | dict.fromkeys(
        [*CONTAINED, "user namespace"], "EPERM"
    )
    assert dict(line.rsplit(" ", 1) for line in told) == expected


def test_without_the_filter_all_of_it_would_be_there(program: PovRay, sphere_unit, tmp_path: Path):
    _, told = ask(
        program, "deeds", unit=sphere_unit(), folder=tmp_path, filtered=False, locked=False
    )
    assert set(told) == {f"{name} done" for name in [*ALLOWED, *CONTAINED, "user namespace"]}


def test_bubblewrap_alone_keeps_user_namespaces_away(program: PovRay, sphere_unit, tmp_path: Path):
    _, told = ask(program, "deeds", unit=sphere_unit(), folder=tmp_path, filtered=False)
    assert "user namespace ENOSPC" in told


def test_threads_without_end_are_stopped(program: PovRay, sphere_unit, tmp_path: Path):
    exited, _ = ask(
        program, "threads", unit=sphere_unit(), folder=tmp_path, limits=Limits(threads=100)
    )
    assert "more than 100 threads" in exited.problem


def test_povray_itself_runs_filtered_here():
    bwrap = open_sandbox(require_povray(), "required")
    assert bwrap is not None
    assert bwrap.system_calls == filter_program()
