"""The alert counts what goes wrong with frames and containers, and nothing else."""

from __future__ import annotations

import re

import pytest

from tests.terraform.terraform_command import Terraform

# Of an entry's log, as Cloud Run names it; what a container prints is in the first two.
STDOUT, STDERR = "run.googleapis.com%2Fstdout", "run.googleapis.com%2Fstderr"
SYSTEM = "run.googleapis.com%2Fvarlog%2Fsystem"
AUDIT = "cloudaudit.googleapis.com"

# As Cloud Run and render_image/cloud_log.py write them: log, severity, text.
FAILED = [
    (STDOUT, "ERROR", "frame 7: shared/a.pov:3: Parse Error"),
    (STDERR, "CRITICAL", ""),
    (SYSTEM, "WARNING", "Container called exit(1)."),
    *(
        (SYSTEM, "WARNING", f"Container called exit({code}).")
        for code in (2, 14, 41, 43, 100, 134, 137, 139, 140, 142, 144, 153, 255)
    ),
    *(
        (SYSTEM, "WARNING", f"Container terminated on signal {signal}.")
        for signal in (1, 5, 6, 9, 11, 25)
    ),
    (
        SYSTEM,
        "WARNING",
        "Terminating task because it has reached the maximum timeout of 3600 seconds.",
    ),
    (SYSTEM, "WARNING", "Memory limit of 512 MiB exceeded with 530 MiB used."),
    (SYSTEM, "WARNING", "The configured memory limit was reached."),
]
FINE = [
    (STDOUT, "INFO", "frame 7 rendered"),
    (SYSTEM, "WARNING", "Container called exit(0)."),
    # Of a job that was cancelled.
    (SYSTEM, "WARNING", "Container called exit(143)."),
    (SYSTEM, "WARNING", "Container terminated on signal 15."),
    (STDOUT, "WARNING", "3 of 120 frames are left to others"),
    (SYSTEM, "INFO", "This container has been migrated to another machine"),
    # Of the same resource: an execution that has failed, one that was refused, and who read what.
    (f"{AUDIT}%2Fsystem_event", "ERROR", ""),
    (f"{AUDIT}%2Factivity", "ERROR", ""),
    (f"{AUDIT}%2Fdata_access", "ERROR", ""),
]


def counted(query: str, log: str, severity: str, text: str) -> bool:
    """Whether the metric's filter, of the one form that it has, takes an entry of a render job."""
    match = re.fullmatch(
        r'resource\.type="cloud_run_job" AND resource\.labels\.job_name=\((.+?)\) AND '
        r'NOT logName:"([^"]+)" AND \(severity>=ERROR OR textPayload=~"(.+)"\)',
        query,
    )
    assert match, query
    assert "povstorm-render" in match[1]
    if match[2] in f"projects/my-project/logs/{log}":
        return False
    return severity in ("ERROR", "CRITICAL", "ALERT", "EMERGENCY") or bool(
        re.search(match[3], text)
    )


@pytest.fixture
def query(whole_cluster: Terraform) -> str:
    [metric] = [each for each in whole_cluster.resources() if each.type == "google_logging_metric"]
    return metric.values["filter"]


@pytest.mark.parametrize(("log", "severity", "text"), FAILED)
def test_a_failed_attempt_and_a_lost_container_count(
    query: str, log: str, severity: str, text: str
):
    assert counted(query, log, severity, text)


@pytest.mark.parametrize(("log", "severity", "text"), FINE)
def test_what_goes_well_does_not(query: str, log: str, severity: str, text: str):
    assert not counted(query, log, severity, text)


def test_no_backslash_is_in_the_filter_whose_meaning_depends_on_how_often_it_is_read(query: str):
    assert "\\" not in query
