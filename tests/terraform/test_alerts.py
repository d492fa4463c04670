"""The alert counts what goes wrong with frames and containers, and nothing else."""

from __future__ import annotations

import re

import pytest

from tests.terraform.terraform_command import Terraform

# As Cloud Run and render_image/cloud_log.py write them: severity, text.
FAILED = [
    ("ERROR", "frame 7: shared/a.pov:3: Parse Error"),
    ("CRITICAL", ""),
    ("WARNING", "Container called exit(1)."),
    *(
        ("WARNING", f"Container called exit({code}).")
        for code in (2, 14, 41, 43, 100, 134, 137, 139, 140, 142, 144, 153, 255)
    ),
    *(("WARNING", f"Container terminated on signal {signal}.") for signal in (1, 5, 6, 9, 11, 25)),
    (
        "WARNING",
        "Terminating task because it has reached the maximum timeout of 3600 seconds.",
    ),
    ("WARNING", "Memory limit of 512 MiB exceeded with 530 MiB used."),
    ("WARNING", "The configured memory limit was reached."),
]
FINE = [
    ("INFO", "frame 7 rendered"),
    ("WARNING", "Container called exit(0)."),
    # Of a job that was cancelled.
    ("WARNING", "Container called exit(143)."),
    ("WARNING", "Container terminated on signal 15."),
    ("WARNING", "3 of 120 frames are left to others"),
    ("INFO", "This container has been migrated to another machine"),
]


def counted(query: str, severity: str, text: str) -> bool:
    """Whether the metric's filter, of the one form that it has, takes a line of a render job."""
    match = re.fullmatch(
        r'resource\.type="cloud_run_job" AND resource\.labels\.job_name=\((.+?)\) AND '
        r'\(severity>=ERROR OR textPayload=~"(.+)"\)',
        query,
    )
    assert match, query
    assert "povstorm-render" in match[1]
    return severity in ("ERROR", "CRITICAL", "ALERT", "EMERGENCY") or bool(
        re.search(match[2], text)
    )


@pytest.fixture
def query(whole_cluster: Terraform) -> str:
    [metric] = [each for each in whole_cluster.resources() if each.type == "google_logging_metric"]
    return metric.values["filter"]


@pytest.mark.parametrize(("severity", "text"), FAILED)
def test_a_failed_attempt_and_a_lost_container_count(query: str, severity: str, text: str):
    assert counted(query, severity, text)


@pytest.mark.parametrize(("severity", "text"), FINE)
def test_what_goes_well_does_not(query: str, severity: str, text: str):
    assert not counted(query, severity, text)


def test_no_backslash_is_in_the_filter_whose_meaning_depends_on_how_often_it_is_read(query: str):
    assert "\\" not in query
