"""Prices and limits of Cloud Run jobs; the plan of a wave and the dispatcher take them from here.

Prices: https://cloud.google.com/run/pricing, jobs (instance-based billing), tier 1 regions, as of
2026-11; limits: https://cloud.google.com/run/quotas, as of 2026-11. A region of tier 2 costs up to
1.4 times as much; the free tier is left out.
"""

from __future__ import annotations

USD_PER_VCPU_SECOND = 0.000018
USD_PER_GIB_SECOND = 0.000002
# "A minimum of one minute is billed for each instance of a job."
LEAST_BILLED_SECONDS = 60.0

MOST_TASKS_PER_EXECUTION = 10_000

# What a task is expected to need before its first POV-Ray process: pulling the image, starting
# the instance and Python. Google documents no figure; waves that ran replace this one.
STARTUP_SECONDS = 10.0
# What a frame needs beside its rendering: its results are stored while others render.
TRANSFER_SECONDS = 0.1


def usd(task_seconds: float, *, vcpus: float, memory_mib: float) -> float:
    """The price of billed task seconds of that size."""
    return task_seconds * (vcpus * USD_PER_VCPU_SECOND + memory_mib / 1024 * USD_PER_GIB_SECOND)
