"""A draft is known by what decides it: by all files, or by those that its frame was seen to use."""

from __future__ import annotations

from pathlib import Path

from povstorm_client import RenderSettings
from povstorm_client.frames.shared_use import SharedUse
from povstorm_client.jobs.shared_resources import tree_digest
from povstorm_client.scene.load_scene import Scene
from povstorm_client.storage import layout
from povstorm_client.watch.known_frames import Draft, KnownFrames, SharedTree
from tests.synthetic_job import rendered

SETTINGS = RenderSettings(scene="scene/a.pov", folder="scene", width=32, height=24, final_frame=4)
EARLY = SharedUse(frozenset({"scene/a.pov"}), frozenset({"scene/extra.inc"}))
LATE = SharedUse(frozenset({"scene/a.pov", "scene/late.inc"}))
USES = {1: EARLY, 2: EARLY, 3: LATE, 4: LATE}


def scene(uses: dict[int, SharedUse] | None = None, settings: RenderSettings = SETTINGS) -> Scene:
    return Scene("a", settings, (1, 2, 3, 4), {}, (), (), uses=uses or {})


def tree(**contents: str) -> SharedTree:
    """Files by their names without ending, and what their digests are made of."""
    names = {"a": "a.pov", "late": "late.inc", "extra": "extra.inc"}
    digests = {
        f"scene/{names[name]}": (text * 64)[:64] for name, text in {"a": "1", **contents}.items()
    }
    return SharedTree(layout.shared(tree_digest(digests)), digests)


def draw(known: KnownFrames, drafts: list[Draft]) -> set[int]:
    """Draw what is not there; returns which frames that are."""
    missing = [draft for draft in drafts if known.drawn(draft.version) is None]
    for draft in missing:
        known.add(draft, rendered(draft.unit, started=0, seconds=1))
    return {draft.unit.frame for draft in missing}


def test_without_knowing_more_all_frames_depend_on_all_files():
    known = KnownFrames()
    assert draw(known, known.drafts(scene(), tree(late="2"))) == {1, 2, 3, 4}
    assert draw(known, known.drafts(scene(), tree(late="2"))) == set()
    assert draw(known, known.drafts(scene(), tree(late="3"))) == {1, 2, 3, 4}
    assert draw(known, known.drafts(scene(), tree(late="2"))) == set(), "it was undone"


def test_frames_that_were_seen_not_to_use_a_file_stay():
    known = KnownFrames()
    drafts = known.drafts(scene(), tree(late="2"))
    draw(known, drafts)
    known.learn(drafts, USES, tree(late="2"))
    after = known.drafts(scene(), tree(late="3"))
    assert draw(known, after) == {3, 4}
    assert [draft.is_exact for draft in after] == [True, True, False, False]


def test_what_a_frame_looked_for_in_vain_counts_when_it_is_there():
    known = KnownFrames()
    drafts = known.drafts(scene(), tree(late="2"))
    draw(known, drafts)
    known.learn(drafts, USES, tree(late="2"))
    assert draw(known, known.drafts(scene(), tree(late="2", extra="4"))) == {1, 2, 3, 4} - {3, 4}


def test_another_option_is_another_frame_whatever_it_uses():
    known = KnownFrames()
    drafts = known.drafts(scene(), tree())
    draw(known, drafts)
    known.learn(drafts, dict.fromkeys(USES, EARLY), tree())
    other = RenderSettings(scene="scene/a.pov", folder="scene", width=64, height=48, final_frame=4)
    assert draw(known, known.drafts(scene(settings=other), tree())) == {1, 2, 3, 4}


def test_a_scene_that_was_run_before_is_known_by_its_uses_at_once():
    known = KnownFrames()
    assert draw(known, known.drafts(scene(USES), tree(late="2"))) == {1, 2, 3, 4}
    assert draw(known, known.drafts(scene(USES), tree(late="3"))) == {3, 4}


def test_pictures_that_were_shown_longest_ago_go_first_and_are_drawn_again():
    known = KnownFrames()
    first = known.drafts(scene(), tree(late="2"))
    draw(known, first)
    second = known.drafts(scene(), tree(late="3"))
    draw(known, second)
    shown = [draft.version for draft in second]
    gone = known.forget_beyond(0, shown)
    assert gone == [draft.version for draft in first]
    assert draw(known, known.drafts(scene(), tree(late="3"))) == set()
    assert draw(known, known.drafts(scene(), tree(late="2"))) == {1, 2, 3, 4}


def test_the_units_belong_to_a_prefix_that_only_their_content_names(tmp_path: Path):
    known = KnownFrames()
    one, other = (known.drafts(scene(), tree(late=text))[0] for text in "23")
    assert one.unit.job_id != other.unit.job_id
    assert one.unit.offload_gcs_prefix == layout.output(one.unit.job_id)
    assert layout.is_job_id(one.unit.job_id)
