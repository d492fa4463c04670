"""docs/deploy.md is typed, block after block, and renders."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.deploy.conftest import ROOT
from tests.deploy.typed_page import Shell, shell_blocks
from tests.e2e.granted_cloud import GrantedCloud
from tests.terraform.terraform_command import Resource, resources_of

PAGE = ROOT / "docs" / "deploy.md"


def blocks(start: str, end: str) -> list[str]:
    return shell_blocks(PAGE, start, end)


def applied(shell: Shell) -> list[Resource]:
    """The state of terraform in the checkout."""
    return resources_of(shell.type("tf show -json"))


@pytest.fixture(scope="module")
def cluster(shell: Shell, cloud: GrantedCloud) -> Shell:
    """The shell of who has typed all before the ways, and has rendered."""
    log_in, apply, act_as, *render = blocks("# From an empty", "## 2. Prefect")
    shell.type(log_in)
    shell.type(apply)
    cloud.apply(applied(shell))
    assert "FAILED" not in shell.type(act_as)
    shell.type("\n".join(render))
    (variables,) = blocks("## 2. Prefect", "**(a) Prefect Cloud")
    shell.type(variables)
    return shell


def test_the_flow_in_ones_terminal_renders_on_cloud_run(cluster: Shell, cloud: GrantedCloud):
    assert cloud.run.statistics()["calls"]["jobs.run"] >= 1


def type_with_job_id(shell: Shell, block: str) -> None:
    """Type a block in which JOB_ID is what its first command prints; it has to fetch 3 frames."""
    first, rest = re.split(r"\n(?=[^\n]*JOB_ID)", block, maxsplit=1)
    told = re.search(r"^job +(\S+)", shell.type(first), re.MULTILINE)
    assert told is not None
    shell.type(rest.replace("JOB_ID", told[1]))
    saved = shell.folder / "spiral_render"
    assert len(list(saved.glob("frames/*.png"))) == 3
    shutil.rmtree(saved)


def test_way_c_a_worker_on_ones_own_machine(shell: Shell):
    start, run = blocks("**(c) A process pool.**", "Whether scenes are contained")

    shell.type(start)
    type_with_job_id(shell, run)
