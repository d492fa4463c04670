"""What is at work beside a watched scene's user is told when it is no more of use."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from povstorm_client import InputError, RenderSettings, WorkUnit
from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.launch.draft_process import DraftedFrame, DraftProcess
from povstorm_client.scene.load_scene import Scene, load_scene
from povstorm_client.watch.draft_feed import DraftFeed
from povstorm_client.watch.draft_folder import DraftFolder, draft_folder
from povstorm_client.watch.draft_loop import DraftLoop

# Seconds; nothing waits for so long unless it fails.
PATIENCE = 120.0


class SceneOfTwoFrames:
    """Reads it; a run of it, to see which files it uses, takes until it is told to end."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "own.pov"
        self.file.write_text("camera {} light_source { -9*z, 1 } sphere { 4*z, 1 }\n", "utf-8")
        self.is_wrong = threading.Event()
        self.was_refused = threading.Event()
        self.runs: list[threading.Event] = []
        self.has_run = threading.Semaphore(0)

    def read(
        self, *, always_trace: bool, stop: threading.Event, warn: Callable[[str], None]
    ) -> Scene:
        if always_trace:
            self.runs.append(stop)
            self.has_run.release()
            stop.wait(PATIENCE)
            raise InputError("its run was ended")
        if self.is_wrong.is_set():
            self.was_refused.set()
            raise InputError("it is wrong")
        return load_scene(str(self.file), switches=["+W16", "+H12", "+KFF2"])

    def appear(self, name: str) -> None:
        (self.file.parent / name).write_text("", "utf-8")


def test_a_run_for_frames_that_were_drawn_again_is_ended_for_the_next(tmp_path: Path):
    scene = SceneOfTwoFrames(tmp_path)
    ended: list[bool] = []

    def person() -> None:
        try:
            assert scene.has_run.acquire(timeout=PATIENCE)
            # No file of the scene is saved, for which the run would be ended at once.
            scene.is_wrong.set()
            scene.appear("first.inc")
            assert scene.was_refused.wait(PATIENCE)
            scene.is_wrong.clear()
            scene.appear("second.inc")
            assert scene.has_run.acquire(timeout=PATIENCE)
            ended.extend(run.is_set() for run in scene.runs)
        finally:
            _thread.interrupt_main()  # as Ctrl-C does

    with draft_folder(ToneMapping()) as folder:
        loop = DraftLoop(scene.read, "own.pov", tmp_path, folder, DraftFeed(), lambda _words: None)
        loop.open()
        acting = threading.Thread(target=person)
        acting.start()
        with pytest.raises(KeyboardInterrupt):
            loop.run("off")
        acting.join()

    assert ended == [True, False]


def test_an_error_in_what_is_done_with_a_frame_ends_the_drawing_with_its_reason(tmp_path: Path):
    reasons: list[str] = []
    has_ended = threading.Event()

    def fail(_frame: DraftedFrame) -> None:
        raise OSError("no space left")

    def end(reason: str) -> None:
        reasons.append(reason)
        has_ended.set()

    unit = WorkUnit(RenderSettings("own.pov", width=16, height=12))
    unit.add_inline_resource("own.pov", "sphere { 4*z, 1 }\n")
    folder = DraftFolder(tmp_path, ToneMapping())
    process = DraftProcess(folder.storage.uri, tmp_path, sandbox="off", on_frame=fail, on_end=end)
    try:
        process.draw(1, [unit.assigned(job_id="j", shared_prefix="", offload_prefix="output/j")])
        assert has_ended.wait(PATIENCE)
    finally:
        process.close()

    assert reasons == ["drafts cannot be shown any more: OSError: no space left"]
