"""Where a scene was run, a frame's cache key covers the files that this frame used, and no others.

What it looked for and did not find counts too, and so do answers of ``file_exists``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client import Cluster, InputError, Job, RenderSettings, WorkUnit
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.shared_use import SharedUse
from povstorm_client.jobs.manifest import read_manifest, read_work_units
from povstorm_client.scene_job import read_scene, scene_job
from tests.fidelity.compare import by_povray, by_povstorm, differences

HEAD = "#version 3.7; global_settings { assumed_gamma 1 }\n#declare Level = 0;\n"
SHOW = "background { rgb <mod(Level, 16) / 16, mod(Level / 16, 16) / 16, 0.5> }\n"
LATE = '#if (frame_number >= 4) #include "late.inc" #end\n'
ALL = {1, 2, 3, 4, 5, 6}


def write(folder: Path, source: str, **files: str) -> None:
    (folder / "own.pov").write_text(f"{HEAD}{source}{SHOW}", "utf-8")
    for name, text in files.items():
        (folder / f"{name}.inc").write_text(text, "utf-8")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "Bühne 1"
    folder.mkdir()
    return folder


def submitted(home: Path, *, trace: bool = True, frames: str | None = None) -> Job:
    scene = read_scene(
        "own.pov",
        switches=["+W32", "+H24", "+KFF6"],
        frames=frames,
        size=None,
        preview=False,
        include=None,
        threads=1,
        warn=lambda line: None,
        cwd=home,
        always_trace=trace,
    )
    job = scene_job(Cluster.local(home.parent / "storage"), scene, JobSettings())
    job.submit()
    return job


def keys(home: Path, **options: object) -> dict[int, str]:
    """Frame → what its cache key says of its content."""
    job = submitted(home, **options)
    stored = read_work_units(job.cluster.storage, job.job_id)
    assert stored == list(job.work_units)
    return {unit.frame: unit.content_digest() for unit in stored}


def changed(before: dict[int, str], after: dict[int, str]) -> set[int]:
    return {frame for frame in before if before[frame] != after[frame]}


def test_a_file_that_some_frames_include_is_theirs_alone(home: Path):
    write(home, LATE, late="#declare Level = 40;")
    before = keys(home)
    assert keys(home) == before
    write(home, LATE, late="#declare Level = 41;")
    assert changed(before, keys(home)) == {4, 5, 6}


def test_the_scene_itself_is_every_frames(home: Path):
    write(home, LATE, late="")
    before = keys(home)
    write(home, LATE + "// another\n", late="")
    assert changed(before, keys(home)) == ALL


def test_untraced_frames_depend_on_all_shared_files(home: Path):
    write(home, LATE, late="#declare Level = 40;")
    before = keys(home, trace=False)
    write(home, LATE, late="#declare Level = 41;")
    assert changed(before, keys(home, trace=False)) == ALL


def test_what_a_frame_asks_for_and_is_not_there_is_a_dependency(home: Path):
    write(home, '#if (frame_number = 2 & file_exists("maybe.inc")) #declare Level = 9; #end\n')
    before = keys(home)
    (home / "maybe.inc").write_text("", "utf-8")
    with_file = keys(home)
    assert 2 in changed(before, with_file)
    (home / "maybe.inc").unlink()
    assert keys(home) == before


def test_a_list_of_names_is_a_dependency_of_the_frames_that_read_it(home: Path):
    source = (
        '#if (frame_number < 3) #fopen F "names.txt" read #read (F, Name) #fclose F\n'
        "#include Name #end\n"
    )
    write(home, source, a="#declare Level = 7;", b="#declare Level = 8;")
    (home / "names.txt").write_text('"a.inc"', "utf-8")
    before = keys(home, trace=False)  # has to be run for its names
    (home / "names.txt").write_text('"b.inc"', "utf-8")
    assert changed(before, keys(home, trace=False)) == {1, 2}


def test_how_many_frames_are_chosen_is_no_part_of_a_frame(home: Path):
    write(home, LATE, late="")
    everything = keys(home)
    few = keys(home, frames="1-4")
    assert few == {frame: everything[frame] for frame in few}


def test_the_frames_that_are_cached_by_what_they_use_are_povrays(home: Path, storage):
    write(home, LATE, late="#declare Level = 40;")
    scene = read_scene(
        "own.pov",
        switches=["+W32", "+H24", "+KFF6"],
        frames=None,
        size=None,
        preview=False,
        include=None,
        threads=1,
        warn=lambda line: None,
        cwd=home,
        always_trace=True,
    )
    theirs = by_povray(home, "own.pov", "+W32", "+H24", "+KFF6")
    assert differences(by_povstorm(scene, storage), theirs) == []


def test_what_running_it_first_took_is_stored_with_the_job(home: Path):
    write(home, LATE, late="")
    traced = submitted(home)
    manifest = read_manifest(traced.cluster.storage, traced.job_id)
    assert manifest.tracing is not None
    assert manifest.tracing.frames == 6
    assert manifest.tracing.seconds > 0
    plain = submitted(home, trace=False)
    assert read_manifest(plain.cluster.storage, plain.job_id).tracing is None


def test_a_frame_that_is_said_to_use_what_the_job_has_not_is_refused(tmp_path: Path):
    (tmp_path / "a.pov").write_text("", "utf-8")
    job = Job(Cluster.local(tmp_path / "storage"), "a")
    job.add_shared_resources(tmp_path / "a.pov")
    job.add_work_unit(WorkUnit(RenderSettings("shared/a.pov")), SharedUse(frozenset({"b.inc"})))
    with pytest.raises(InputError, match=r"shared/b\.inc, which is not among"):
        job.submit()


def test_a_stored_digest_that_is_none_is_not_readable():
    unit = WorkUnit(RenderSettings("shared/a.pov")).to_json() | {"shared_digest": "../x"}
    with pytest.raises(InputError, match="shared_digest"):
        WorkUnit.from_json(unit)
