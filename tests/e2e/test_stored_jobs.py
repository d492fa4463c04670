"""Stored jobs from the command line: listed, looked at, tried again, deleted; others unharmed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from povstorm_client import Cluster, Job, JobError, RenderSettings, WorkUnit
from povstorm_client.storage import layout
from tests.conftest import SPHERE

POVSTORM = str(Path(sys.executable).with_name("povstorm"))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    return Cluster.local()


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    folder = tmp_path / "scene"
    folder.mkdir()
    (folder / "sphere.pov").write_text(SPHERE)
    return folder


def make_job(cluster: Cluster, scene: Path, name: str = "sphere", **options) -> Job:
    job = Job(cluster, name, **options)
    job.add_shared_resources(scene)
    settings = RenderSettings("shared/sphere.pov", width=32, height=24, final_frame=4)
    for frame in range(1, 5):
        job.add_work_unit(WorkUnit(settings, frame=frame))
    return job


def povstorm(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POVSTORM, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )


def keys(cluster: Cluster, prefix: str) -> set[str]:
    return {stored.key for stored in cluster.storage.list(prefix)}


def ended(job: Job) -> dict[int, float]:
    return {result.frame: result.ended for result in job.results()}


def test_deleting_a_job_breaks_neither_its_heirs_nor_the_next_run(
    cluster: Cluster, scene: Path, tmp_path: Path
):
    first, heir = make_job(cluster, scene), make_job(cluster, scene)
    first.run(show_progress=False)
    heir.run(show_progress=False)
    assert all(result.cache_hit for result in heir.results())
    images = heir.images()

    done = povstorm("clean", first.job_id, "--yes", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert f"deleted  {first.job_id}" in done.stdout
    assert keys(cluster, layout.job(first.job_id)) == set()
    assert heir.images() == images
    third = make_job(cluster, scene)
    third.run(show_progress=False)
    assert sorted(third.images()) == [1, 2, 3, 4]
    assert all(result.cache_hit for result in third.results()), "they are the heir's"

    # Deleted like this, jobs leave their entries in the cache, and they lead nowhere.
    heir.delete()
    third.delete()
    assert len(cached_frames(cluster)) == 8
    fourth = make_job(cluster, scene)
    fourth.run(show_progress=False)
    assert sorted(fourth.images()) == [1, 2, 3, 4]
    assert not any(result.cache_hit for result in fourth.results())
    assert fourth.save_video(tmp_path / "video.mp4").stat().st_size > 0


def cached_frames(cluster: Cluster) -> set[str]:
    return {key for key in keys(cluster, layout.RESULT_CACHE) if "frame-" in key}


def test_a_retry_renders_only_what_failed_and_what_is_missing(
    cluster: Cluster, scene: Path, tmp_path: Path
):
    late = tmp_path / "late.inc"
    (scene / "sphere.pov").write_text(SPHERE + f'#if (frame_number = 3) #include "{late}" #end\n')
    job = make_job(cluster, scene, sandbox="off")
    with pytest.raises(JobError, match="frame 3"):
        job.run(show_progress=False)
    before = ended(job)
    shown = povstorm("status", job.job_id, cwd=tmp_path).stdout
    assert "3 of 4 rendered, 1 failed" in shown
    assert "■■✗■" in shown
    assert "3: File 'shared/sphere.pov' line" in shown
    assert f"povstorm frame {job.job_id} 3" in shown
    late.write_text("// here now\n")
    cluster.storage.delete(f"{layout.output(job.job_id)}/frame_1.png")

    done = povstorm("retry", job.job_id, "--no-sandbox", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert {frame for frame, time in ended(job).items() if time != before[frame]} == {1, 3}
    assert "4 of 4 frames" in done.stdout
    assert "2 of 4 frames are there; rendering 1, 3" in done.stderr
    assert len(list((tmp_path / "sphere_render" / "frames").iterdir())) == 4
    assert (tmp_path / "sphere_render" / "sphere.mp4").is_file()
    assert "4 of 4 rendered" in povstorm("status", job.job_id, cwd=tmp_path).stdout


def test_jobs_are_listed_and_cleaned_by_what_they_came_to(
    cluster: Cluster, scene: Path, tmp_path: Path
):
    assert "there are no jobs" in povstorm("jobs", cwd=tmp_path).stdout
    good = make_job(cluster, scene, "good", video=None)
    good.run(show_progress=False)
    (scene / "sphere.pov").write_text("sphere {")
    bad = make_job(cluster, scene, "bad")
    with pytest.raises(JobError):
        bad.run(show_progress=False)
    waiting = make_job(cluster, scene, "waiting")
    waiting.submit()

    table = povstorm("jobs", "--size", cwd=tmp_path).stdout
    lines = [line for line in table.splitlines() if "-20" in line]
    assert [line.split("-20")[0].strip() for line in lines] == ["waiting", "bad", "good"]
    assert [line.split()[3] for line in lines] == ["submitted", "failed", "completed"]
    assert "kB" in lines[2]
    listed = json.loads(povstorm("jobs", "--json", "--last", "2", cwd=tmp_path).stdout)
    assert [(job["name"], job["phase"], job["frames"]) for job in listed] == [
        ("waiting", "submitted", 4),
        ("bad", "failed", 4),
    ]

    refused = povstorm("clean", waiting.job_id, good.job_id, "--yes", cwd=tmp_path)
    assert refused.returncode == 1
    assert f"povstorm cancel {waiting.job_id}" in refused.stderr
    asked = povstorm("clean", "--failed", cwd=tmp_path)
    assert "give --yes" in asked.stderr
    planned = povstorm("clean", "--failed", "--dry-run", cwd=tmp_path)
    assert bad.job_id in planned.stdout
    assert good.job_id not in planned.stdout
    assert len(cluster.jobs()) == 3

    done = povstorm("clean", "--failed", "--yes", cwd=tmp_path)
    assert done.stdout.count("deleted  ") == 1
    left = povstorm("clean", "--keep", "0", "--yes", cwd=tmp_path)
    assert f"left alone  {waiting.job_id}" in left.stdout
    assert [job.job_id for job in cluster.jobs()] == [waiting.job_id]
    assert povstorm("clean", "--older-than", "30d", cwd=tmp_path).stdout == "nothing to delete\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to delete"),
        (["nojob"], "there is no job 'nojob'"),
        (["../x"], "job id '../x' is not usable"),
        (["nojob", "--failed"], "not both"),
        (["--older-than", "soon"], "give for example 30d"),
    ],
)
def test_a_clean_that_is_not_clear_deletes_nothing(
    cluster: Cluster, tmp_path: Path, words: list[str], message: str
):
    done = povstorm("clean", *words, "--yes", cwd=tmp_path)

    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
