"""How busy the cores are that a process has: a container's own, within its quota."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from render_image import machine

BUSY = SimpleNamespace(user=80.0, system=20.0, nice=0.0, idle=0.0, iowait=0.0)
IDLE = SimpleNamespace(user=0.0, system=0.0, nice=0.0, idle=100.0, iowait=0.0)
HALF = SimpleNamespace(user=40.0, system=10.0, nice=35.0, idle=10.0, iowait=5.0)


@pytest.fixture
def share_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function: the share that CpuUse tells, of cores in these states, after ten seconds.

    own: the numbers of the cores that this process may be scheduled on, all by default. quota: the
    control group's, if it has one; used: how many seconds the group has used; nice: of these, what
    was of lowered priority, None where that is not told. niceness: of this process.
    """

    def share(
        *cores: SimpleNamespace,
        own: set[int] | None = None,
        quota: str = "max",
        used: float = 0.0,
        nice: float | None = None,
        niceness: int = 0,
    ) -> float:
        def spend(seconds: float, lowered: float) -> None:
            told = "" if nice is None else f"nice_usec {lowered * 1e6:.0f}\n"
            (tmp_path / "cpu.stat").write_text(f"usage_usec {seconds * 1e6:.0f}\n{told}")

        clock = iter([100.0, 110.0])
        monkeypatch.setattr(machine.time, "monotonic", lambda: next(clock))
        monkeypatch.setattr(psutil, "cpu_times_percent", lambda percpu: list(cores))
        chosen = set(range(len(cores))) if own is None else own
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: chosen, raising=False)
        monkeypatch.setattr(os, "getpriority", lambda *_: niceness)
        (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
        spend(1.0, 0.5)
        use = machine.CpuUse(tmp_path)
        spend(1.0 + used, 0.5 + (nice or 0.0))
        return use.share()

    return share


def test_programs_that_give_way_to_povray_count_as_idle(share_of):
    assert share_of(HALF) == pytest.approx(0.5)
    assert share_of(HALF, nice=3.5) == pytest.approx(0.5)


def test_others_programs_of_lower_priority_do_not_give_way(share_of):
    assert share_of(HALF, nice=0.0) == pytest.approx(0.85)
    assert share_of(HALF, nice=1.0) == pytest.approx(0.75)


def test_nothing_gives_way_to_a_povray_of_lower_priority(share_of):
    assert share_of(HALF, niceness=10) == pytest.approx(0.85)
    assert share_of(HALF, nice=3.5, niceness=10) == pytest.approx(0.85)
    # A tenth and a twentieth of the core are idle, and four tenths were used, of a half.
    quota = share_of(HALF, quota="50000", used=4.0, nice=3.0, niceness=10)
    assert quota == pytest.approx(0.4 / (0.4 + 0.1))


def test_all_cores_count_alike(share_of):
    assert share_of(BUSY, IDLE, BUSY, HALF) == pytest.approx(2.5 / 4)


def test_only_cores_count_that_this_process_may_be_scheduled_on(share_of):
    assert share_of(BUSY, IDLE, IDLE, IDLE, own={0}) == pytest.approx(1.0)
    assert share_of(BUSY, BUSY, IDLE, IDLE, own={2, 3}) == pytest.approx(0.0)


def test_where_cores_have_other_numbers_than_are_shown_all_of_them_count(share_of):
    assert share_of(BUSY, IDLE, own={6, 7}) == pytest.approx(0.5)


def test_use_is_a_share_of_the_quota(share_of):
    assert share_of(IDLE, IDLE, quota="50000", used=3.0) == pytest.approx(3.0 / (10 * 0.5))


def test_what_gives_way_within_a_quota_counts_as_not_used(share_of):
    assert share_of(HALF, quota="50000", used=4.0, nice=3.0) == pytest.approx(1.0 / (1.0 + 4.0))
    assert share_of(HALF, quota="50000", used=4.0, nice=0.0) == pytest.approx(4.0 / (4.0 + 1.0))


def test_of_a_quota_that_the_machine_has_no_time_for_nothing_is_left(share_of):
    assert share_of(BUSY, BUSY, quota="150000", used=3.0) == pytest.approx(1.0)
    # Half a core is idle, and 0.3 were used.
    assert share_of(BUSY, HALF, quota="150000", used=3.0) == pytest.approx(0.3 / (0.3 + 0.5))


def test_a_quota_that_was_used_up_is_used_all(share_of):
    assert share_of(IDLE, IDLE, quota="50000", used=5.2) == pytest.approx(1.0)


def test_a_host_on_cloud_run_is_its_execution_and_task(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLOUD_RUN_EXECUTION", "render-abc")
    monkeypatch.setenv("CLOUD_RUN_TASK_INDEX", "7")

    assert machine.host_name() == "render-abc/task-7"
