"""``povstorm render`` as people type it: results where they are asked for, one clear error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from povstorm_client import Cluster, InputError, Job, JobError, command_line
from povstorm_client.programs.cores import whole_cores
from povstorm_client.saving.frame_saver import FrameSaver
from povstorm_client.saving.results_folder import RECORD

POVSTORM = str(Path(sys.executable).with_name("povstorm"))
SCENE = "#version 3.7; camera { location -4*z look_at 0 } background { rgb clock }\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    work = tmp_path / "work"
    work.mkdir()
    (work / "anim.ini").write_text(
        "Input_File_Name=anim.pov\nFinal_Frame=20\nWidth=32\nHeight=24\n[tiny]\nWidth=16\n"
    )
    (work / "anim.pov").write_text(SCENE)
    return work


def povstorm(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POVSTORM, *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_an_ini_becomes_images_a_video_and_a_table(folder: Path):
    done = povstorm(folder, "render", "anim.ini[tiny]", "--frames", "1-20x5", "--fps", "10")
    assert done.returncode == 0, done.stderr
    images = sorted(path.name for path in (folder / "anim_render" / "frames").iterdir())
    assert images == ["frame_01.png", "frame_06.png", "frame_11.png", "frame_16.png"]
    assert (folder / "anim_render" / "anim.mp4").stat().st_size > 0
    assert "4 of 4 frames" in done.stdout


def test_a_job_goes_on_where_nobody_reads_its_output_any_more(folder: Path):
    with subprocess.Popen(
        [POVSTORM, "render", "anim.ini[tiny]", "--frames", "1-4"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        process.stderr.close()
    assert process.returncode == 0
    images = sorted(path.name for path in (folder / "anim_render" / "frames").iterdir())
    assert images == ["frame_01.png", "frame_02.png", "frame_03.png", "frame_04.png"]
    assert (folder / "anim_render" / "report.html").exists()


def test_a_second_command_for_one_folder_is_refused_before_it_stores_anything(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    refused = pytest.raises(InputError, match=r"another povstorm command is saving to results: ")

    def render_at_once(_job: Job, **_options: Any) -> None:
        with refused:
            command_line.run(["render", "anim.ini", "--output", "results"])
        raise JobError("that was all")

    monkeypatch.setattr(Job, "run", render_at_once)
    monkeypatch.chdir(folder)
    with pytest.raises(JobError, match="that was all"):
        command_line.run(["render", "anim.ini[tiny]", "--output", "results"])
    assert len(Cluster.local().jobs()) == 1
    assert not (folder / "results").exists()


def test_ctrl_c_when_all_is_rendered_is_told_so_and_everything_is_saved(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    run = Job.run

    def interrupted_at_its_end(job: Job, **options: Any) -> None:
        run(job, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "run", interrupted_at_its_end)
    monkeypatch.chdir(folder)
    assert command_line.run(["render", "anim.ini[tiny]", "--frames", "1-2"]) == 130

    said = capsys.readouterr()
    assert "povstorm: it had ended already; its results are being saved\n" in said.err
    assert "stopped" not in said.err
    assert "report  anim_render/report.html" in said.out
    assert (folder / "anim_render" / "anim.mp4").exists()


def test_ctrl_c_while_results_are_saved_says_how_to_have_them(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def interrupted(_saver: FrameSaver) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FrameSaver, "save_report", interrupted)
    monkeypatch.chdir(folder)
    assert command_line.run(["render", "anim.ini[tiny]", "--frames", "1"]) == 130
    said = capsys.readouterr().err
    assert re.search(
        r"^povstorm: stopped\. The job is complete; its results are saved by: povstorm fetch anim-",
        said,
        re.MULTILINE,
    )


def test_a_still_is_an_image_without_a_video(folder: Path):
    done = povstorm(folder, "render", "anim.pov", "--size", "20x10", "--output", "still")
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (folder / "still").rglob("*.*"))
    assert names == [RECORD, "frame_1.png", "report.html"]


def test_an_edited_scene_leaves_nothing_of_before_and_a_preview_touches_nothing(folder: Path):
    long = povstorm(folder, "render", "anim.ini", "--video", "none", "+KFF4")
    assert long.returncode == 0, long.stderr
    frames = folder / "anim_render" / "frames"
    (frames / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in frames.iterdir()}

    preview = povstorm(folder, "render", "anim.ini", "--video", "none", "+KFF3", "--preview")
    assert preview.returncode == 0, preview.stderr
    assert len(list((folder / "anim_preview" / "frames").iterdir())) == 3
    assert {path.name: path.read_bytes() for path in frames.iterdir()} == before

    (folder / "anim.pov").write_text(SCENE.replace("rgb clock", "rgb 1 - clock"))
    again = povstorm(folder, "render", "anim.ini", "--video", "none", "+KFF4")
    assert again.returncode == 0, again.stderr
    assert "4 of 4 frames; " in again.stdout
    after = {path.name: path.read_bytes() for path in frames.iterdir()}
    assert after.keys() == before.keys()
    assert after["notes.txt"] == b"mine"
    assert all(after[name] != before[name] for name in after if name.endswith(".png"))


def test_a_file_of_the_users_in_the_place_of_a_result_is_refused_before_any_work(folder: Path):
    place = folder / "anim_render" / "frames" / "frame_07.png"
    place.parent.mkdir(parents=True)
    place.write_text("a photo")
    done = povstorm(folder, "render", "anim.ini")
    assert done.returncode == 1
    assert "anim_render/frames/frame_07.png is not povstorm's" in done.stderr
    assert "--output" in done.stderr
    assert place.read_text() == "a photo"
    assert not list((folder.parent / "home").glob("jobs/*"))


def test_a_still_uses_all_cores_and_says_what_that_costs(folder: Path):
    still = povstorm(folder, "render", "anim.pov", "--dry-run")
    assert f"+WT{whole_cores()}" in still.stdout
    assert whole_cores() == 1 or "--threads 1 makes them repeatable" in still.stderr
    assert "+WT1 " in povstorm(folder, "render", "anim.pov", "--dry-run", "--threads", "1").stdout
    animation = povstorm(folder, "render", "anim.ini", "--dry-run")
    assert "+WT1 " in animation.stdout
    assert animation.stderr == ""


def test_a_dry_run_prints_frames_files_and_command_and_renders_nothing(folder: Path):
    done = povstorm(folder, "render", "anim.ini", "+W64", "--dry-run")
    assert "frames   20: 1-20" in done.stdout
    assert f"scene/anim.pov  <-  {folder}/anim.pov" in done.stdout
    assert "povray +Ianim.pov" in done.stdout
    assert "+W64" in done.stdout
    assert not (folder / "anim_render").exists()
    assert not (folder.parent / "home").exists()


def test_what_failed_is_told_kept_and_tried_again(folder: Path):
    (folder / "anim.pov").write_text(SCENE + '#if (frame_number = 2) #include "late.inc" #end\n')
    failed = povstorm(folder, "render", "anim.ini", "+KFF3")
    assert failed.returncode == 1
    assert "late.inc is not there" in failed.stderr
    assert "frame 2: File 'anim.pov' line 2: Parse Error" in failed.stderr
    assert len(list((folder / "anim_render" / "frames").iterdir())) == 2
    job_id = failed.stderr.rsplit("povstorm retry ", 1)[1].split()[0]
    again = povstorm(folder, "retry", job_id)
    assert again.returncode == 1, "the same scene fails the same way"
    assert "Traceback" not in failed.stderr + again.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.ini"], "scene nowhere.ini does not exist"),
        (["anim.ini[huge]"], "no section [huge]"),
        (["anim.ini", "--size", "0x10"], "width is 0"),
        (["anim.ini", "--threads", "0"], "threads is 0"),
        (["anim.ini", "--size", "big"], "is not WIDTHxHEIGHT"),
        (["anim.ini", "--frames", "5-99"], "outside of the animation"),
        (["anim.ini", "--fps", "0"], "fps is 0"),
        (["anim.ini", "--video", "avi"], "video format 'avi'"),
        (["anim.ini", "+KFF0"], "before initial frame"),
        (["anim.ini", "+Zork"], "no option '+Zork'"),
        (["anim.ini", "--output", "anim.pov"], "output folder anim.pov cannot be written to"),
        (["anim.ini", "--output", "/proc"], "output folder /proc cannot be written to"),
        (["anim.ini", "--include", "nix"], "--include nix does not exist"),
        (["missing.pov"], "missing.pov:1: nowhere.inc"),
        (["computed.pov"], "computed.pov' line 2: Parse Error: Cannot open include file a0"),
        (["shell.ini"], "shell.ini:2: 'Pre_Scene_Command=ls' would run a program"),
    ],
)
def test_bad_input_is_one_clear_error_before_any_work(folder: Path, words: list[str], message: str):
    (folder / "missing.pov").write_text('#include "nowhere.inc"\n')
    (folder / "computed.pov").write_text('\n#include concat("a", str(clock, 0, 0))\n')
    (folder / "shell.ini").write_text("Input_File_Name=anim.pov\nPre_Scene_Command=ls\n")
    done = povstorm(folder, "render", *words)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("povstorm: ")
    assert "Traceback" not in done.stderr
    assert not list((folder.parent / "home").glob("jobs/*"))
