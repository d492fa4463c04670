"""``povstorm doctor`` finds whatever a run on this machine lacks, and says what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from pathlib import Path

import pytest

from povstorm_client import Cluster
from povstorm_client.doctor import machine_checks
from povstorm_client.doctor.check import Check
from povstorm_client.programs import povray_waits, sandbox_mode
from povstorm_client.programs.measure_waits import measure_waits

Usage = namedtuple("Usage", "total used free")
EVERYTHING = [
    *("POV-Ray", "POV-Ray's includes", "POV-Ray's waits", "sandbox", "memory and cores"),
    *("ffmpeg", "storage", "storage's rights", "storage's room", "clock", "temporary folder"),
    *("Prefect's folder", "Prefect's server"),
]


MEASURED = {"plain": 0.69, "short": 0.031}


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has all it needs, whatever runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(machine_checks, "bubblewrap_problem", lambda: "")
    monkeypatch.setattr(machine_checks, "measure_waits", lambda _povray, runs: MEASURED)
    monkeypatch.setattr(povray_waits, "why_without", lambda: "")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, 1 << 39))


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster.local(tmp_path / "storage")


def wrong(cluster: Cluster) -> dict[str, Check]:
    """The checks that fail, each with something to do."""
    failed = {check.name: check for check in cluster.check() if not check.passed}
    assert all(check.finding and check.remedy for check in failed.values())
    return failed


def test_a_machine_that_has_all_passes_all(cluster: Cluster):
    checks = cluster.check()
    assert [check.name for check in checks] == EVERYTHING
    assert [check.finding for check in checks if not check.passed] == []
    assert not any(check.remedy for check in checks)


def test_missing_programs_are_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    failed = wrong(cluster)
    assert list(failed) == ["POV-Ray", "ffmpeg"]
    assert "apt install povray" in failed["POV-Ray"].remedy
    assert failed["POV-Ray"].finding == "povray is not on PATH", "what to do is said once"


def test_a_broken_ffmpeg_is_no_ffmpeg(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("ffmpeg", "ffprobe"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 3\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    failed = wrong(cluster)
    assert "ended with exit code 3" in failed["ffmpeg"].finding


def waits(cluster: Cluster) -> Check:
    (found,) = (check for check in cluster.check() if check.name == "POV-Ray's waits")
    return found


def test_what_the_library_does_to_povrays_waits_is_measured(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    assert waits(cluster).finding == (
        "an empty picture takes 0.69 s, and 0.03 s with povstorm's library, by which frames are "
        "rendered"
    )
    monkeypatch.setattr(machine_checks, "measure_waits", measure_waits)
    assert re.match(r"an empty picture takes \d+\.\d\d s, ", waits(cluster).finding)


def test_a_library_that_was_not_built_is_told_with_what_builds_it(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.undo()
    monkeypatch.setattr(povray_waits, "_BUILT", tmp_path / "none.so")
    found = waits(cluster)
    assert found.passed
    assert found.finding.endswith("as of each frame: the library that ends them was not built")
    assert "apt install tcc" in found.remedy
    monkeypatch.setenv(povray_waits.VARIABLE, "off")
    assert waits(cluster).finding.endswith("as of each frame: POVSTORM_SHORT_WAITS=off says so")
    assert waits(cluster).remedy == ""


def test_missing_includes_are_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine_checks, "installed_folders", frozenset)
    failed = wrong(cluster)
    assert list(failed) == ["POV-Ray's includes"]
    assert "povray-includes" in failed["POV-Ray's includes"].remedy


def test_scenes_that_cannot_be_contained_are_told_unless_that_is_wanted(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine_checks, "bubblewrap_problem", lambda: "bwrap is not on PATH")
    monkeypatch.delenv(sandbox_mode.VARIABLE, raising=False)
    assert list(wrong(cluster)) == ["sandbox"]
    monkeypatch.setenv(sandbox_mode.VARIABLE, "off")
    assert wrong(cluster) == {}


def test_a_storage_that_others_may_write_to_is_told(cluster: Cluster):
    cluster.storage.root.chmod(0o777)  # type: ignore[attr-defined]
    assert "0777" in wrong(cluster)["storage's rights"].finding


def test_a_storage_that_cannot_be_made_is_told_once(tmp_path: Path):
    (tmp_path / "file").write_text("")
    failed = wrong(Cluster.local(tmp_path / "file"))
    assert list(failed) == ["storage"]
    assert "POVSTORM_HOME" in failed["storage"].remedy


def test_want_of_room_and_memory_is_told(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, 1 << 20))
    monkeypatch.setattr(machine_checks, "_LEAST_MEMORY_BYTES", 1 << 60)
    failed = wrong(cluster)
    assert list(failed) == ["memory and cores", "storage's room", "temporary folder"]
    assert "povstorm clean" in failed["storage's room"].remedy
    assert "TMPDIR" in failed["temporary folder"].remedy


def test_a_temporary_folder_that_is_not_there_is_told(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert "TMPDIR" in wrong(cluster)["temporary folder"].remedy


def test_a_prefect_folder_that_cannot_be_written_to_is_told(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file"))
    assert "PREFECT_HOME" in wrong(cluster)["Prefect's folder"].remedy


def test_a_prefect_server_that_is_not_there_or_of_another_version_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    failed = wrong(cluster)
    assert list(failed) == ["Prefect's server"]
    assert "prefect server start" in failed["Prefect's server"].remedy
    monkeypatch.setattr(
        "povstorm_client.launch.prefect_server._get", lambda url, *_: "health" in url or "2.9"
    )
    assert "is Prefect 2.9, this client has 3" in wrong(cluster)["Prefect's server"].finding


def test_a_clock_that_differs_from_the_storage_s_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine_checks, "storage_time", lambda _: time.time() - 3600)
    assert "3600 s apart" in wrong(cluster)["clock"].finding


def test_the_command_prints_each_and_exits_1_if_one_is_wrong(tmp_path: Path):
    done = subprocess.run(
        [Path(sys.executable).with_name("povstorm"), "doctor"],
        env={
            **os.environ,
            "POVSTORM_HOME": str(tmp_path / "home"),
            "PREFECT_API_URL": "http://127.0.0.1:1/\x1b[2J",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == ""
    for name in EVERYTHING:
        assert f"{name}: " in done.stdout
    assert "FAILED  Prefect's server: " in done.stdout
    assert "\x1b" not in done.stdout
