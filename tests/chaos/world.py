"""Where a chaos run happens: a cluster of this machine's or on the Google Cloud of the tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from povstorm_client import Cluster
from povstorm_client.launch import telling_time
from povstorm_client.programs import povray_waits
from povstorm_client.programs.cores import cores
from povstorm_client.programs.priority import lower_session
from povstorm_client.programs.tools import die_with_parent
from povstorm_client.storage.bucket import GcsStorage
from povstorm_client.storage.protocol import Storage
from tests.chaos.plan import STORAGE_FAULTS, ChaosPlan
from tests.chaos.prefect_server import PrefectServer
from tests.e2e.google_cloud import GoogleCloud, google_cloud
from tests.emulators.gcs.server import GcsServer

_DISK = "12m"
_PREFECT_HOME = "prefect-home"
_MOVES = {"move_after_seconds": 2.0, "move_notice_seconds": 0.3, "move_pause_seconds": 1.0}
_SMALL_QUOTA = {"vcpu_quota": 2.0, "quota_refuses": "not all fit"}

# What happens to Prefect's servers is to happen while frames are rendered.
_TOLD_AT_ONCE = {telling_time.VARIABLE: "0"}
# Without its waits POV-Ray is done with a small frame before the watcher can see its process.
_LONG_WAITS = {povray_waits.VARIABLE: "off"}


@dataclass
class World:
    """Where a run happens.

    where: the storage's folder or the outputs file, which make the cluster. direct: a way to the
    storage without faults. temporary: where all temporary files go. prefect_home: the home of
    servers that flows start. disk: a storage that can be filled.
    """

    where: Path
    cluster: Cluster
    direct: Storage
    temporary: Path
    prefect: PrefectServer
    prefect_home: Path
    disk: Path | None = None
    cloud: GoogleCloud | None = None


@contextmanager
def chaos_world(plan: ChaosPlan, folder: Path, prefect: PrefectServer) -> Iterator[World]:
    """Set up what the plan needs in an empty folder; the environment points to it."""
    temporary = folder / "temporary"
    temporary.mkdir()
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        if plan.own_servers:
            patch.delenv("PREFECT_API_URL", raising=False)
            patch.setenv("PREFECT_HOME", str(folder / _PREFECT_HOME))
        else:
            patch.setenv("PREFECT_API_URL", prefect.url)
        patch.setenv("POVSTORM_HOME", str(folder / "home"))
        for name, text in {**_LONG_WAITS, **_TOLD_AT_ONCE}.items():
            patch.setenv(name, text)
        set_up = _cloud if plan.where == "cloud" else _here
        world = stack.enter_context(set_up(plan, folder, temporary, prefect))
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", None)
        stack.enter_context(_busy() if plan.busy else contextlib.nullcontext())
        yield world


@contextmanager
def _here(
    plan: ChaosPlan, folder: Path, temporary: Path, prefect: PrefectServer
) -> Iterator[World]:
    storage = folder / "storage"
    storage.mkdir()
    with _small_disk(storage) if plan.fill_disk else contextlib.nullcontext():
        cluster = Cluster.local(storage)
        disk = storage if plan.fill_disk else None
        home = folder / _PREFECT_HOME
        yield World(storage, cluster, cluster.storage, temporary, prefect, home, disk)


@contextmanager
def _cloud(
    plan: ChaosPlan, folder: Path, temporary: Path, prefect: PrefectServer
) -> Iterator[World]:
    knobs = {
        "lose_answers": plan.lose_answers,
        "refuse_runs": plan.refuse_runs,
        "run_tasks_twice": plan.run_tasks_twice,
        "clock_skew_seconds": float(plan.skew),
        **(_MOVES if plan.move_tasks else {}),
        **(_SMALL_QUOTA if plan.small_quota else {}),
    }
    with (
        GcsServer() as gcs,
        google_cloud(folder, gcs, containers_environment=_LONG_WAITS, **knobs) as cloud,
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", gcs.own_url)
            direct = GcsStorage(cloud.bucket)
            direct.stat("opens it")
        cluster = Cluster.from_terraform_outputs(cloud.outputs)
        faults = {kind: STORAGE_FAULTS[kind] for kind in plan.storage}
        home = folder / _PREFECT_HOME
        cloud.storage.clock_skew = float(plan.skew)
        with cloud.storage.injecting(**faults):
            yield World(cloud.outputs, cluster, direct, temporary, prefect, home, None, cloud)


@contextmanager
def _busy() -> Iterator[None]:
    """Nine processes for each core compute for nothing while the block runs.

    In a session each, as the job's are: where the kernel shares the cores among sessions, all of
    them would count as one otherwise, and slow down the watcher, whose session it is, and not the
    job. Of who runs chaos at a lower priority they have that.
    """
    command = [*die_with_parent(), sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(command, start_new_session=True) for _ in range(9 * int(cores()))]
    for process in started:
        lower_session(max(0, os.nice(0)), process.pid)
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own that can be filled."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "povstorm-chaos", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
