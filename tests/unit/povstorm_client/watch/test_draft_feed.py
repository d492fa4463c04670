"""What the page of drafts is told: what a save changes, what is there, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.watch.draft_feed import DraftFeed
from povstorm_client.watch.scene_problem import SceneProblem
from tests.drafted_scene import DraftedScene

PROBLEM = SceneProblem("orbit.pov, line 4", "Parse Error: no }")


@pytest.fixture
def scene(tmp_path: Path) -> DraftedScene:
    return DraftedScene(tmp_path / "drafts", 4)


def letters(feed: DraftFeed) -> str:
    return "".join(row.letter for _, row in sorted(feed.changes(0)[1], key=lambda each: each[0]))


def tiles(feed: DraftFeed) -> list[str]:
    return [value for _, value, _ in feed.sections()["tiles"]]


def test_frames_are_waited_for_drawn_outdated_or_as_before(scene: DraftedScene):
    scene.draw(1, 2, 3, 4)
    assert letters(scene.feed) == "rrrr"
    scene.save(4, changed={2, 3})
    assert letters(scene.feed) == "cooc"
    scene.draw(2)
    assert letters(scene.feed) == "croc"
    assert scene.feed.sections()["status"]["message"] == "orbit.pov saved, 2 of 4 frames change"
    assert scene.feed.sections()["status"]["phase"] == "Drawing"
    scene.draw(3)
    assert scene.feed.sections()["status"]["phase"] == "Up to date"


def test_pictures_of_before_are_there_until_others_are(scene: DraftedScene):
    scene.draw(1, 2, 3, 4)
    before = [draft.version for draft in scene.drafts]
    scene.save(4)
    assert [row.version for _, row in scene.feed.changes(0)[1]] == before
    assert all(scene.feed.result(version) for version in before)
    scene.save(4)
    assert all(scene.feed.result(version) for version in before), "also two saves later"


def test_an_error_stays_until_a_frame_of_a_later_save_is_there(scene: DraftedScene):
    scene.draw(1, 2, 3, 4)
    scene.save(4)
    scene.fail(1, PROBLEM)
    scene.feed.give_up()
    assert scene.feed.sections()["problem"]["where"] == "orbit.pov, line 4"
    assert scene.feed.sections()["status"]["phase"] == "Error"
    assert tiles(scene.feed) == ["0 of 4", "none", "none"]
    assert letters(scene.feed) == "oooo"
    scene.save(4)
    assert scene.feed.is_in_trouble, "nobody knows yet whether it is mended"
    scene.draw(4)
    assert not scene.feed.is_in_trouble


def test_what_cannot_even_be_read_is_an_error_and_gone_when_all_is_known(scene: DraftedScene):
    scene.draw(1, 2, 3, 4)
    scene.feed.cannot_read(PROBLEM)
    assert scene.feed.sections()["problem"] is not None
    scene.save(4, changed=set())
    assert scene.feed.sections()["problem"] is None
    assert letters(scene.feed) == "cccc"
    assert tiles(scene.feed) == ["0 of 0", "at once", "at once"]


def test_the_first_error_of_a_save_is_the_one_that_is_shown(scene: DraftedScene):
    scene.fail(3, PROBLEM)
    scene.fail(1, SceneProblem("other.inc, line 1", "Parse Error: another"))
    assert scene.feed.sections()["problem"]["where"] == "orbit.pov, line 4"
    assert letters(scene.feed) == "ff", "of those that have no picture"


def test_another_number_of_frames_is_another_page(scene: DraftedScene):
    edition = scene.feed.edition
    scene.save(4)
    assert scene.feed.edition == edition
    scene.save(5)
    assert scene.feed.edition != edition
    assert len(scene.feed.units) == 5


def test_only_what_changed_is_told_again(scene: DraftedScene):
    revision, _ = scene.feed.changes(0)
    scene.draw(2)
    revision, rows = scene.feed.changes(revision)
    assert [(index, row.letter) for index, row in rows] == [(1, "r")]
    assert scene.feed.changes(revision)[1] == []
