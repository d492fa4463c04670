"""A container's own cores are seen, not those of the machine around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.programs.cores import cores, whole_cores


def with_quota(folder: Path, text: str) -> Path:
    (folder / "cpu.max").write_text(text)
    return folder


def test_a_cpu_quota_counts_less_than_the_machines_cores(tmp_path: Path):
    assert cores(with_quota(tmp_path, "50000 100000\n")) == 0.5


def test_without_a_quota_it_is_the_machines_cores(tmp_path: Path):
    every = cores(tmp_path / "nowhere")

    assert every >= 1
    assert cores(with_quota(tmp_path, "max 100000\n")) == every


@pytest.mark.parametrize("quota", ["50000 100000", "1 100000", "100000 100000"])
def test_a_part_of_a_core_keeps_one_process_busy(tmp_path: Path, quota: str):
    assert whole_cores(with_quota(tmp_path, quota)) == 1
