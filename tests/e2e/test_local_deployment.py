"""Jobs of this machine's folder on a deployment, with a worker here, from the command line."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from povstorm_client import Cluster, InputError
from povstorm_client.jobs.state import read_state
from povstorm_client.launch.run_page import RUN_LABEL
from povstorm_client.storage.folder import FolderStorage
from tests.chaos.prefect_server import chosen
from tests.e2e.test_deployments import make_pool, prefect, worker_of

POVSTORM = str(Path(sys.executable).with_name("povstorm"))
DEPLOYMENT = "render-job/local"
SLOW = "#for (I, 1, 20000000) #declare X = sqrt(I); #end\n"
SCENE = "#version 3.7; camera { location -4*z look_at 0 } background { rgb clock }\n"


@pytest.fixture(scope="module")
def deployed(prefect_server: str) -> Iterator[str]:
    with chosen(prefect_server):
        make_pool("povstorm-local", "process", "local.json")
        prefect("deploy", "--prefect-file", "deployments/prefect.yaml", "--name", "local")
        yield prefect_server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deployed: str) -> Path:
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("POVSTORM_DEPLOYMENT", DEPLOYMENT)
    (tmp_path / "anim.ini").write_text("Input_File_Name=anim.pov\nFinal_Frame=3\n+W32 +H24\n")
    (tmp_path / "anim.pov").write_text(SCENE)
    return tmp_path


def povstorm(folder: Path, *words: str, may_fail: bool = False) -> str:
    """Its output, what it says on standard error included."""
    done = subprocess.run(
        [POVSTORM, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert may_fail or done.returncode == 0, done.stdout
    return done.stdout


def wait_for_label(server: str, job_id: str, run: str) -> None:
    """Wait until the flow run of a job is labelled as that run; it is, beside its frames."""
    wanted = {"flow_runs": {"name": {"any_": [job_id]}}}
    deadline = time.monotonic() + 300
    while True:
        (found,) = httpx.post(f"{server}/flow_runs/filter", json=wanted, timeout=60).json()
        if found["labels"].get(RUN_LABEL) == run:
            return
        assert time.monotonic() < deadline, found["labels"]
        time.sleep(0.2)


def test_a_local_job_is_submitted_watched_fetched_retried_and_cancelled(
    folder: Path, deployed: str
):
    # Nothing begins it yet, which is said.
    submitted = povstorm(folder, "submit", "anim.ini")
    assert "work pool povstorm-local has no worker" in submitted
    assert "prefect worker start --pool povstorm-local" in submitted
    assert re.search(r"^flow +.*flow.run.[0-9a-f-]{36}$", submitted, re.MULTILINE)
    job_id = re.search(r"^job +(\S+)$", submitted, re.MULTILINE)[1]
    assert "0 of 3" in povstorm(folder, "fetch", job_id, "--output", "early")

    with worker_of("povstorm-local", folder):
        assert "3 of 3 rendered" in povstorm(folder, "status", job_id, "--watch")
        state = read_state(FolderStorage(folder / "home"), job_id)
        assert state is not None
        wait_for_label(deployed, job_id, state.run)
        povstorm(folder, "fetch", job_id, "--output", "fetched")
        assert len(list((folder / "fetched/frames").iterdir())) == 3
        assert (folder / "fetched/anim.mp4").is_file()

        again = povstorm(folder, "retry", job_id, "--output", "again")
        assert "3 of 3 frames are there" in again
        assert len(list((folder / "again/frames").iterdir())) == 3

        (folder / "anim.pov").write_text(SLOW + SCENE)
        slow = povstorm(folder, "submit", "anim.ini", "+KFF40")
        slow_id = re.search(r"^job +(\S+)$", slow, re.MULTILINE)[1]
        assert f"job {slow_id} stops" in povstorm(folder, "cancel", slow_id)
        assert "cancelled" in povstorm(folder, "status", slow_id, "--watch")


def test_a_pool_that_does_not_see_this_machine_s_folder_is_refused_before_anything_is_stored(
    folder: Path,
):
    make_pool("povstorm-cloud-run", "cloud-run-v2", "cloud-run.json")
    prefect(
        *("deploy", "--prefect-file", "deployments/prefect.yaml", "--name", "cloud-worker"),
        POVSTORM_FLOW_IMAGE="europe-west1-docker.pkg.dev/test-project/povstorm/flow:0.1.0",
        POVSTORM_REGION="europe-west1",
        POVSTORM_ORCHESTRATOR="orchestrator@test-project.iam.gserviceaccount.com",
    )
    for words, message in (
        (["--deployment", "render-job/cloud-worker"], "does not see this machine's folder"),
        (["--deployment", "render-job/nowhere"], "has no deployment render-job/nowhere"),
        (["--deployment", "nowhere"], "is not FLOW/NAME"),
    ):
        said = povstorm(folder, *words, "submit", "anim.ini", may_fail=True)
        assert message in said
        assert said.count("\n") == 1
    assert not list((folder / "home").glob("jobs/*"))


def test_without_a_deployment_a_local_job_cannot_be_left(cluster: Cluster):
    with pytest.raises(InputError, match="--deployment render-job/local"):
        cluster.require_deployment()
