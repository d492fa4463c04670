"""A stored job's frame rendered into the open: its pixels, its files, a script to go on from."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit, command_line
from povstorm_client.jobs import shared_resources
from povstorm_client.jobs.manifest import read_manifest
from povstorm_client.launch.frame_process import render_frame_here
from povstorm_client.storage import layout
from render_image.frame_limits import Limits
from render_image.rerun_script import write_rerun_script

SCENE = """#version 3.7;
#include "ball.inc"
#include "colour.inc"
camera { location -4*z look_at 0 }
light_source { <5, 8, -9> rgb 1 }
object { Ball pigment { Colour } translate clock*x }
#if (frame_number = 3) #include "nowhere.inc" #end
"""


in_both_storages = pytest.mark.parametrize("cluster", ["folder", "bucket"], indirect=True)


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Cluster:
    if getattr(request, "param", "folder") == "folder":
        return Cluster.local(tmp_path / "storage")
    return Cluster(request.getfixturevalue("gcs_storage").uri)


@pytest.fixture
def job(cluster: Cluster, tmp_path: Path) -> Job:
    """A submitted job of three frames, none of them rendered; the third cannot be."""
    scene = tmp_path / "scene"
    scene.mkdir()
    (scene / "a.pov").write_text(SCENE)
    (scene / "ball.inc").write_text("#declare Ball = sphere { 0, 1 };\n")
    job = Job(cluster, "ball", frame_timeout=60)
    job.add_shared_resources(scene)
    settings = RenderSettings(
        "shared/a.pov", width=32, height=24, final_frame=3, library_paths=("shared",)
    )
    for frame in (1, 2, 3):
        unit = WorkUnit(settings, frame=frame)
        unit.add_inline_resource("colour.inc", f"#declare Colour = rgb <{frame}/3, 1, 0>;\n")
        job.add_work_unit(unit)
    job.submit()
    return job


def stored(job: Job) -> dict[str, tuple[int, float]]:
    """All that the storage holds, apart from what a folder's access times would tell."""
    return {
        each.key: (each.size, each.changed)
        for prefix in ("blobs", "shared", "jobs", "results", "cleaning")
        for each in job.cluster.storage.list(prefix)
    }


def pixels(image: Path | bytes) -> bytes:
    opened = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
    return opened.convert("RGB").tobytes()


@in_both_storages
def test_it_is_the_frame_with_its_own_files_in_a_folder_that_stays(
    job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    before = stored(job)
    folder = tmp_path / "open"

    assert (
        render_frame_here(
            job.cluster.storage_uri,
            job.job_id,
            2,
            folder,
            gcp_credentials=job.cluster.gcp_credentials,
        )
        == 0
    )

    workspace = folder / "workspace"
    assert (workspace / "shared" / "a.pov").read_text() == SCENE
    assert "2/3" in (workspace / "colour.inc").read_text()
    printed = capfd.readouterr()
    assert "Render Statistics" in printed.err
    assert "Render Statistics" in (folder / "povray.txt").read_text()
    assert f"image   {workspace}/output/frame_2.png" in printed.out
    assert "pixels" not in printed.out, "there is no image yet to compare with"
    assert stored(job) == before

    # The script renders the same again, wherever its folder is, and after a change another.
    image = pixels(workspace / "output/frame_2.png")
    moved = tmp_path / "moved 'away' $HOME"
    shutil.move(folder, moved)
    (moved / "workspace/output/frame_2.png").unlink()
    subprocess.run([moved / "rerun.sh"], check=True, capture_output=True, cwd="/")
    assert pixels(moved / "workspace/output/frame_2.png") == image
    (moved / "workspace/colour.inc").write_text("#declare Colour = rgb z;\n")
    subprocess.run([moved / "rerun.sh"], check=True, capture_output=True, cwd="/")
    assert pixels(moved / "workspace/output/frame_2.png") != image
    assert stored(job) == before


def test_it_says_whether_the_pixels_are_those_that_the_job_has(
    job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    storage = job.cluster.storage
    render_frame_here(
        job.cluster.storage_uri,
        job.job_id,
        1,
        tmp_path / "uploaded",
        gcp_credentials=job.cluster.gcp_credentials,
    )
    image = (tmp_path / "uploaded/workspace/output/frame_1.png").read_bytes()
    for frame in (1, 2):
        storage.write(f"{layout.output(job.job_id)}/frame_{frame}.png", image)
    # As after a run of the job: the tree is staged.
    shared_resources.stage(storage, read_manifest(storage, job.job_id).shared_files)
    storage.delete("blobs")

    for frame, words in ((1, "(the job's pixels)"), (2, "(not the pixels of the job's image)")):
        assert (
            render_frame_here(
                job.cluster.storage_uri,
                job.job_id,
                frame,
                tmp_path / f"staged {frame}",
                gcp_credentials=job.cluster.gcp_credentials,
            )
            == 0
        )
        assert words in capfd.readouterr().out


def test_a_frame_that_fails_leaves_all_there_is_to_look_at(
    job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert (
        render_frame_here(
            job.cluster.storage_uri,
            job.job_id,
            3,
            tmp_path / "open",
            gcp_credentials=job.cluster.gcp_credentials,
        )
        == 1
    )

    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("povstorm: File 'shared/a.pov' line 7: Parse Error")
    assert (tmp_path / "open/workspace/shared/a.pov").is_file()
    again = subprocess.run([tmp_path / "open/rerun.sh"], check=False, capture_output=True)
    assert b"nowhere.inc" in again.stderr


def test_what_a_scene_prints_cannot_steer_the_terminal(
    cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    job = Job(cluster, "loud")
    unit = WorkUnit(RenderSettings("a.pov", width=16, height=8))
    scene = r'#version 3.7; #debug concat(chr(27), "]0;owned", chr(7), "\n")'
    unit.add_inline_resource("a.pov", scene)
    job.add_work_unit(unit)
    job.submit()

    render_frame_here(
        cluster.storage_uri,
        job.job_id,
        1,
        tmp_path / "open",
        gcp_credentials=cluster.gcp_credentials,
    )

    said = capfd.readouterr().err
    assert "?]0;owned?" in said
    assert "\x1b" not in said


def test_a_quiet_one_prints_what_matters_and_where_the_rest_is(
    job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    folder = tmp_path / "open"
    assert (
        render_frame_here(
            job.cluster.storage_uri,
            job.job_id,
            1,
            folder,
            verbose=False,
            gcp_credentials=job.cluster.gcp_credentials,
        )
        == 0
    )

    printed = capfd.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()] == [
        *("again", "scene", "log", "image")
    ]
    assert f"log     {folder}/povray.txt\n" in printed.out
    assert "Render Statistics" in (folder / "povray.txt").read_text()
    assert "Statistics" not in printed.err

    assert (
        render_frame_here(
            job.cluster.storage_uri,
            job.job_id,
            3,
            tmp_path / "failed",
            verbose=False,
            gcp_credentials=job.cluster.gcp_credentials,
        )
        == 1
    )
    error = capfd.readouterr().err.splitlines()
    assert error[-1].startswith("povstorm: File 'shared/a.pov' line 7: Parse Error")
    assert len(error) <= 2, "a warning of the sandbox at most beside it"


def test_the_command_is_quiet_unless_it_is_asked_to_be_verbose(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    monkeypatch.setattr(
        "povstorm_client.commands.frame.render_frame_here",
        lambda *_, **options: asked.append(options["verbose"]) or 0,
    )
    for words in (["frame", job.job_id, "1"], ["frame", "--verbose", job.job_id, "1"]):
        assert command_line.run(words) == 0
    assert asked == [False, True]


def test_words_of_the_command_are_nothing_but_words_to_the_shell(tmp_path: Path):
    words = ["a b", "$(touch owned)", "`touch owned`", "it's; touch owned", "", f"{tmp_path}/x'y"]
    (tmp_path / "workspace").mkdir()
    script = write_rerun_script(
        *(tmp_path, "Frame 1", ["printf", "%s\\n", *words]),
        environment={"PATH": os.environ["PATH"], "HOME": "$(touch owned)"},
        limits=Limits(),
        before=None,
    )

    done = subprocess.run([script], check=True, capture_output=True, text=True)

    assert done.stdout.split("\n")[:-1] == words
    assert list((tmp_path / "workspace").iterdir()) == []


def test_options_change_how_it_is_drawn(job: Job, tmp_path: Path):
    done = render_frame_here(
        *(job.cluster.storage_uri, job.job_id, 1, tmp_path / "open"),
        switches=["+W64", "+H48", "+A0.1"],
        threads=2,
        sandbox="off",
        gcp_credentials=job.cluster.gcp_credentials,
    )

    assert done == 0
    assert Image.open(tmp_path / "open/workspace/output/frame_1.png").size == (64, 48)
    script = (tmp_path / "open/rerun.sh").read_text()
    assert "+WT2" in script
    assert "bwrap" not in script


def test_what_cannot_be_is_one_clear_error(
    job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("")

    def error(*arguments) -> str:
        assert (
            render_frame_here(
                job.cluster.storage_uri, *arguments, gcp_credentials=job.cluster.gcp_credentials
            )
            == 1
        )
        said = capfd.readouterr().err
        assert said.startswith("povstorm: ")
        assert "Traceback" not in said
        return said

    assert "no frame 42: it has 1-3" in error(job.job_id, 42, tmp_path / "a")
    assert "there is no job 'other'" in error("other", 1, tmp_path / "b")
    assert "is not empty" in error(job.job_id, 1, occupied)
    assert "cannot be made" in error(job.job_id, 1, tmp_path / "file")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.setenv("POVSTORM_SANDBOX", "off")
    assert "povray is not on PATH" in error(job.job_id, 1, tmp_path / "c")
    assert {path.name for path in tmp_path.iterdir()} == {"storage", "scene", "occupied", "file"}
    assert [path.name for path in occupied.iterdir()] == ["thesis.txt"]
