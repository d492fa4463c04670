"""A save is told once, however an editor goes about it; what is no save is none."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from povstorm_client.watch import file_watch
from povstorm_client.watch.file_watch import FileWatch

# Seconds; nothing waits for so long unless it fails.
PATIENCE = 120.0


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.pov"
    path.write_text("sphere {}")
    return path


@pytest.fixture
def saved(scene: Path) -> Path:
    """What an editor has written to take the scene's place; as long as the scene is."""
    partial = scene.with_name(".scene.pov.swp")
    partial.write_text("SPHERE {}")
    return partial


@pytest.fixture
def watch(scene: Path, saved: Path) -> FileWatch:
    found = FileWatch()
    found.follow([scene])
    return found


def told(watch: FileWatch, *steps: Callable[[], object]) -> list[Path] | None:
    """What is told of some steps that are done while it is waited."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(watch.wait, stop)
        try:
            for step in steps:
                step()
            return waiting.result(PATIENCE)
        finally:
            stop.set()


def test_a_file_that_was_written_is_told(watch: FileWatch, scene: Path):
    assert told(watch, lambda: scene.write_text("sphere { 0 }")) == [scene]


def test_a_file_that_was_replaced_is_told(watch: FileWatch, scene: Path, saved: Path):
    assert told(watch, lambda: saved.replace(scene)) == [scene]


def test_a_file_of_the_same_length_and_time_is_told(watch: FileWatch, scene: Path, saved: Path):
    times = scene.stat()
    os.utime(saved, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert told(watch, lambda: saved.replace(scene)) == [scene]


def test_a_file_that_vanishes_for_a_moment_is_told_when_it_is_there_again(
    watch: FileWatch, scene: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(file_watch, "_GONE_SECONDS", 10 * PATIENCE)
    monkeypatch.setattr(file_watch, "_FOLDER_SECONDS", 10 * PATIENCE)

    def save() -> None:
        scene.unlink()
        threading.Event().wait(0.2)
        scene.write_text("sphere { 0 }")

    assert told(watch, save) == [scene]
    assert scene.exists()


def test_a_file_that_stays_away_is_told_in_the_end(watch: FileWatch, scene: Path):
    assert told(watch, scene.unlink) == [scene]


def test_a_name_that_appears_in_a_folder_of_the_scenes_is_told_without_a_file(
    watch: FileWatch, scene: Path
):
    assert told(watch, lambda: (scene.parent / "new.inc").write_text("")) == []


def test_what_was_told_is_not_told_again(scene: Path, saved: Path):
    other = scene.with_name("other.inc")
    other.write_text("")
    watch = FileWatch()
    watch.follow([scene])
    assert told(watch, lambda: saved.replace(scene)) == [scene]
    assert watch.follow([scene, other])
    assert told(watch, lambda: other.write_text("cone {}")) == [other]


def test_a_change_between_two_follows_is_still_one(watch: FileWatch, scene: Path):
    scene.write_text("box { 1 }")
    assert not watch.follow([scene])
    assert told(watch) == [scene]


def test_waiting_ends_when_it_is_to_stop(watch: FileWatch):
    stop = threading.Event()
    stop.set()
    assert watch.wait(stop) is None
