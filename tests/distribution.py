"""Which of pytest-xdist's processes begins with which tests; tests/conftest.py asks.

Each process is given a run of tests as long as the others' to begin with, and takes from their ends
later. So each run begins with its share of the longest modules, and ends with short tests; and
modules whose tests share what takes seconds of CPU time to come up are of one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

import pytest

# Seconds of CPU time that a module takes, roughly: the first that fits. Others are short.
LONGEST = {
    "tests/chaos/test_chaos.py": 150,
    "tests/chaos/": 40,
    "tests/deploy/test_deploy_page.py": 150,
    "tests/deploy/": 20,
    "tests/e2e/test_google_cloud.py": 150,
    "tests/e2e/test_deployments.py": 80,
    "tests/e2e/test_prefect_lost.py": 60,
    "tests/e2e/test_stopping.py": 50,
    "tests/e2e/": 20,
    "tests/terraform/": 10,
    "tests/integration/": 8,
    "tests/emulators/": 5,
}
# What a process has one of: a Prefect server, terraform with its provider's schema, an image.
SHARED = ("prefect", "provider", "render_container")


def shared_out(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """The tests in an order of which each process is given as many, one after the other."""
    modules = [list(tests) for _, tests in groupby(items, attrgetter("path"))]
    shares: list[list[pytest.Item]] = [[] for _ in range(processes)]
    seconds = [0] * processes
    for bundle in sorted(_bundles(modules), key=_seconds_of_bundle, reverse=True):
        least = seconds.index(min(seconds))
        seconds[least] += _seconds_of_bundle(bundle)
        for module in sorted(bundle, key=_seconds, reverse=True):
            shares[least] += module
    short = [item for module in modules if not _seconds(module) for item in module]
    size = -(-len(items) // processes)
    order: list[pytest.Item] = []
    for share in shares:
        room = max(0, size - len(share))
        order += [*share, *short[:room]]
        short = short[room:]
    return order + short


def _bundles(modules: Iterable[list[pytest.Item]]) -> list[list[list[pytest.Item]]]:
    """The long modules: those together that share something, each of the others by itself."""
    together: dict[str, list[list[pytest.Item]]] = {}
    for module in modules:
        if _seconds(module):
            together.setdefault(_shares(module) or str(module[0].path), []).append(module)
    return list(together.values())


def _shares(module: list[pytest.Item]) -> str:
    """What most tests of the module share with those of others, or ""."""
    for name in SHARED:
        users = [item for item in module if name in getattr(item, "fixturenames", ())]
        if len(users) > len(module) / 2:
            return name
    return ""


def _seconds(module: list[pytest.Item]) -> int:
    begun = module[0].nodeid
    return next((seconds for prefix, seconds in LONGEST.items() if begun.startswith(prefix)), 0)


def _seconds_of_bundle(bundle: Iterable[list[pytest.Item]]) -> int:
    return sum(_seconds(module) for module in bundle)
