"""A scene that is saved while it is read is read again, and then it is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.scene.load_scene import Scene, load_scene
from povstorm_client.watch.draft_feed import DraftFeed
from povstorm_client.watch.draft_folder import DraftFolder
from povstorm_client.watch.draft_loop import DraftLoop, drawing_order
from tests.synthetic_job import make_units

# Seconds; nothing waits for so long unless it fails.
PATIENCE = 120.0
# Some looks for a save long.
SLOW = 0.3


def test_a_save_during_a_slow_first_reading_is_read_and_the_scene_opens(tmp_path: Path):
    file = tmp_path / "own.pov"
    file.write_text("sphere { 0, 1 }\n", "utf-8")
    (tmp_path / "drafts").mkdir()
    feed = DraftFeed()
    given_up: list[bool] = []

    def read(*, always_trace: bool, stop: threading.Event, warn: Callable[[str], None]) -> Scene:
        scene = load_scene(str(file))
        # By the first reading it is known which files to look at.
        if len(given_up) == 1:
            file.write_text("box { -1, 1 }\n", "utf-8")
        given_up.append(stop.wait(PATIENCE if len(given_up) == 1 else SLOW))
        assert len(given_up) < 10, "each further reading is given up"
        return scene

    folder = DraftFolder(tmp_path / "drafts", ToneMapping())
    loop = DraftLoop(read, "own.pov", tmp_path, folder, feed, say=lambda _words: None)

    loop.open()

    assert given_up == [False, True, False]
    [tree] = (tmp_path / "drafts").rglob("own.pov")
    assert tree.read_text("utf-8") == "box { -1, 1 }\n"


@pytest.mark.parametrize(
    ("looked_at", "expected"),
    [
        (0, [1, 9, 5, 3, 7, 2, 4, 6, 8]),
        (4, [4, 1, 9, 5, 3, 7, 2, 6, 8]),
        # Of another scene, or of frames that the save has left as they were.
        (12, [1, 9, 5, 3, 7, 2, 4, 6, 8]),
    ],
)
def test_what_is_looked_at_is_drawn_first_and_then_what_lies_far_apart(
    looked_at: int, expected: list[int]
):
    order = drawing_order(make_units("orbit", 9), looked_at)
    assert [unit.frame for unit in order] == expected
