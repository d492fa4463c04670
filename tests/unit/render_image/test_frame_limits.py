"""Limits grow with the image; a process is stopped for what it does, not for how long it takes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.programs.memory import total_memory
from render_image.frame_limits import Limits, most_memory
from render_image.process import ProcessExit, run_process
from render_image.process_watch import folder_problem, read_log

MIB = 1 << 20


def run(script: str, folder: Path, **limits) -> ProcessExit:
    return asyncio.run(
        run_process(
            ["sh", "-c", script],
            cwd=folder,
            environment={"PATH": "/usr/bin:/bin"},
            log=folder / "log.txt",
            timeout=60,
            limits=Limits(**limits),
            folders=[folder],
        )
    )


def test_a_jobs_settings_limit_its_frames_and_say_nothing_for_most_of_the_memory():
    told = JobSettings(stall_timeout=60, frame_memory=256 * MIB)

    assert Limits.of_job(told) == Limits(memory_bytes=256 * MIB, stall_seconds=60)
    assert Limits.of_job(JobSettings()) == Limits()
    assert Limits.of_job(JobSettings(stall_timeout=None)).stall_seconds is None


def test_in_a_container_its_memory_is_the_limit():
    assert Limits.in_container(60) == Limits(memory_bytes=None, stall_seconds=60)


def test_files_and_log_get_room_for_a_large_image_and_memory_does_not():
    small, large = Limits().for_image(320, 240), Limits().for_image(16_384, 16_384)
    state_file = 20 * 16_384 * 16_384
    assert large.file_bytes > state_file > small.file_bytes
    assert large.output_bytes > state_file
    # POV-Ray prints a line of about 40 bytes for each 512 pixels.
    assert large.log_bytes > 40 * 16_384 * 16_384 / 512
    assert large.memory_bytes == small.memory_bytes == most_memory() < total_memory()


def test_a_process_that_renders_further_pixels_goes_on_however_long_that_takes(tmp_path: Path):
    lines = "for i in 1 2 3 4 5 6; do printf 'Rendered %s of 9 pixels (1%%)\\r' $i; sleep 0.4; done"
    ended = run(lines, tmp_path, stall_seconds=1.2)
    assert (ended.returncode, ended.problem) == (0, "")
    assert ended.wall_seconds > 2


@pytest.mark.parametrize(
    "line", ["Parsing ${i}K tokens\\r", "Rendered 5 of 9 pixels (1%%)\\r", "I am alive $i\\n"]
)
def test_tokens_the_same_pixels_and_other_words_are_no_progress(line: str, tmp_path: Path):
    script = f'i=0; while :; do i=$((i+1)); printf "{line}"; sleep 0.1; done'
    ended = run(script, tmp_path, stall_seconds=1.2)
    assert "no progress for 1.2 s" in ended.problem
    assert not ended.timed_out


def test_without_a_limit_on_stalls_only_the_timeout_counts(tmp_path: Path):
    assert run("sleep 1", tmp_path, stall_seconds=None).returncode == 0


def test_the_kernel_holds_a_process_to_its_limits(tmp_path: Path):
    ended = run("ulimit -d; ulimit -f; ulimit -c", tmp_path, memory_bytes=256 * MIB, file_bytes=MIB)
    assert ended.returncode == 0
    kib, blocks, core = (tmp_path / "log.txt").read_text().split()
    assert (int(kib), int(blocks) * 512, core) == (256 * 1024, MIB, "0")


def test_links_are_not_followed_when_files_are_counted(tmp_path: Path):
    (tmp_path / "big").write_bytes(bytes(2 * MIB))
    frame = tmp_path / "frame"
    frame.mkdir()
    (frame / "shared").symlink_to(tmp_path)
    (frame / "a.txt").write_bytes(b"x")
    assert folder_problem([frame], Limits(output_bytes=MIB)) == ""
    assert "more than 1 MiB" in folder_problem([tmp_path], Limits(output_bytes=MIB))


def test_a_log_that_is_too_long_keeps_its_beginning_and_its_end(tmp_path: Path):
    log = tmp_path / "log.txt"
    log.write_bytes(b"begin" + b"x" * 10_000 + b"end")
    with log.open("rb") as file:
        text = read_log(file, Limits(log_bytes=1000)).decode()
    assert text.startswith("begin")
    assert text.endswith("end")
    assert "9008 bytes left out" in text
    assert len(text) < 1100
