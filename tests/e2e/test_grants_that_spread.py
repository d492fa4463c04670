"""Grants take minutes to be in force at Google: until then each part says so in a line.

https://cloud.google.com/iam/docs/access-change-propagation
Of containers, which are tried again for minutes: tests/integration/test_cloud_run_limits.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from povstorm_client import Cluster, PovstormError
from tests.e2e.google_cloud import ORCHESTRATOR, USER, GoogleCloud
from tests.e2e.test_google_cloud import make_job

FLOWS = f"serviceAccount:{ORCHESTRATOR}"
NEVER = 10**6
MINUTES = "what was granted a moment ago takes minutes to be in force"


def doctor(cloud: GoogleCloud, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("povstorm")), "--cluster", str(cloud.outputs)]
    return subprocess.run(
        [*command, "doctor"], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


LATE = {
    "to act as the account": (USER, "iam.", "storage"),
    "on the bucket": (FLOWS, "storage.", "storage"),
    "on the render jobs": (FLOWS, "run.", "render job render-512m"),
}


@pytest.mark.parametrize(("member", "permissions", "check"), LATE.values(), ids=LATE)
def test_the_doctor_says_that_it_may_be_too_early(
    cloud: GoogleCloud, tmp_path: Path, member: str, permissions: str, check: str
):
    cloud.project.spread_grants(member, NEVER, permissions)
    early = doctor(cloud, tmp_path)
    cloud.project.spread_grants(member, 0, permissions)
    later = doctor(cloud, tmp_path)

    failed = [line for line in early.stdout.splitlines() if line.startswith("FAILED")]
    assert failed[0].startswith(f"FAILED  {check}: ")
    assert [line for line in failed if MINUTES not in line] == []
    assert early.returncode == 1
    assert later.returncode == 0, later.stdout


@pytest.mark.parametrize(("member", "permissions", "check"), LATE.values(), ids=LATE)
def test_a_job_that_comes_too_early_fails_in_a_line_and_costs_nothing(
    cloud: GoogleCloud, member: str, permissions: str, check: str
):
    cloud.project.spread_grants(member, NEVER, permissions)
    cluster = Cluster.from_terraform_outputs(cloud.outputs)

    with pytest.raises(PovstormError, match=MINUTES) as refused:
        make_job(cluster, frames=2, video=None).run(show_progress=False)

    assert "\n" not in str(refused.value)
    assert cloud.run.statistics()["instances"] == 0
