"""A frame whose scene has a folder of its own: its command, its tree in the workspace, its key."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import InputError, RenderSettings, WorkUnit
from povstorm_client.errors import RecordError
from povstorm_client.scene.names import NUMBER, TEXT, can_be_same, expression, is_known
from render_image.workspace import lay_out_workspace

SETTINGS = RenderSettings(
    "scene/work/a.pov", final_frame=3, library_paths=("scene/lib", "scene/work/my parts"),
    folder="scene/work", writable=("scene/work/log.txt", "scene/work/out"),
)  # fmt: skip


def test_the_command_names_everything_from_povrays_current_folder():
    command = SETTINGS.command(2)
    assert {"+Ia.pov", "+O../../output/frame_.png", "+L../lib", '+L"my parts"'} <= set(command)


def test_without_a_folder_the_command_and_the_digest_are_what_they_were():
    unit = WorkUnit(RenderSettings("shared/a.pov", library_paths=("shared",)))
    assert unit.cmd[1:3] == ["+Ishared/a.pov", "+Ooutput/frame_1.png"]
    content = {"cmd": unit.cmd, "inline": {}, "shared": ""}
    assert unit.content_digest() == sha256(json.dumps(content).encode()).hexdigest()


def test_settings_that_were_stored_before_there_were_folders_are_read():
    stored = RenderSettings("shared/a.pov").to_json()
    del stored["folder"], stored["writable"]
    assert RenderSettings.from_json(stored) == RenderSettings("shared/a.pov")


@pytest.mark.parametrize(
    "changed",
    [
        {"folder": "scene"},
        {"folder": "scene/b", "scene": "scene/b/a.pov", "library_paths": ()},
        {"writable": ()},
    ],
)
def test_the_folder_and_what_is_writable_are_part_of_the_digest(changed: dict):
    unit = WorkUnit(SETTINGS)
    other = WorkUnit(replace(SETTINGS, **changed))
    assert unit.content_digest() != other.content_digest()
    assert WorkUnit.from_json(unit.to_json()).content_digest() == unit.content_digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"folder": "/scene"},
        {"folder": "scene/.."},
        {"folder": "scene/../../etc"},
        {"folder": "shared"},
        {"folder": "output"},
        {"folder": "scenery"},
        {"folder": 3},
        {"writable": ("shared/a.pov",)},
        {"writable": ("scene/../shared/a.pov",)},
        {"writable": ("../x",)},
        {"writable": (3,)},
        {"folder": "", "writable": ("scene/x",)},
    ],
)
def test_a_manifest_leads_nowhere_with_folders(changed: dict):
    with pytest.raises(InputError):
        WorkUnit.from_json(WorkUnit(SETTINGS).to_json() | {"settings": stored(changed)})


def stored(changed: dict) -> dict:
    return SETTINGS.to_json() | {
        name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()
    }


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    for name in ("work/a.pov", "work/log.txt", "work/sub/b.inc", "lib/c.inc"):
        path = tmp_path / "tree" / "scene" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "tree"


def laid_out(root: Path, shared: Path, unit: WorkUnit, *, link_shared: bool = True) -> Path:
    root.mkdir()
    workspace = lay_out_workspace(
        unit, root, lambda at: at.symlink_to(shared), link_shared=link_shared
    )
    assert workspace.current == workspace.folder / unit.settings.folder
    return workspace.folder


def test_the_tree_is_as_at_home_and_only_what_is_written_to_is_a_copy(tmp_path: Path, shared: Path):
    folder = laid_out(tmp_path / "root", shared, WorkUnit(SETTINGS))
    scene = folder / "scene"
    for name in ("work/a.pov", "work/log.txt", "work/sub/b.inc", "lib/c.inc"):
        assert (scene / name).read_text() == name
    link = (scene / "work/sub/b.inc").readlink()
    assert link == Path("../../../shared/scene/work/sub/b.inc")
    (scene / "work/log.txt").write_text("more")
    assert (shared / "scene/work/log.txt").read_text() == "work/log.txt"
    assert (scene / "work/out").is_dir()


def test_an_inline_resource_over_a_shared_file_never_reaches_the_storage(
    tmp_path: Path, shared: Path
):
    unit = WorkUnit(SETTINGS)
    unit.add_inline_resource("scene/lib/c.inc", "mine")
    folder = laid_out(tmp_path / "root", shared, unit)
    assert (folder / "scene/lib/c.inc").read_text() == "mine"
    assert (shared / "scene/lib/c.inc").read_text() == "lib/c.inc"


def test_a_folder_named_output_that_is_the_scenes_to_write_to_is_the_jobs_own(
    tmp_path: Path, shared: Path
):
    settings = replace(SETTINGS, writable=("scene/work/output",))
    folder = laid_out(tmp_path / "root", shared, WorkUnit(settings), link_shared=False)
    assert (folder / "scene/work/output").resolve() == folder / "output"


def test_a_copy_of_a_link_stays_a_link(tmp_path: Path, shared: Path):
    (tmp_path / "secret").write_text("secret")
    (shared / "scene/work/log.txt").unlink()
    (shared / "scene/work/log.txt").symlink_to(tmp_path / "secret")
    folder = laid_out(tmp_path / "root", shared, WorkUnit(SETTINGS), link_shared=False)
    assert (folder / "scene/work/log.txt").is_symlink()


def test_a_writable_folder_in_a_file_is_one_clear_error(tmp_path: Path, shared: Path):
    settings = replace(SETTINGS, writable=("scene/work/a.pov/x",))
    with pytest.raises(RecordError, match=r"a\.pov/x is a file"):
        laid_out(tmp_path / "root", shared, WorkUnit(settings))


gapped = st.text(st.sampled_from("ab1./" + NUMBER + TEXT), max_size=6)


@given(gapped, gapped, st.text("ab1./", max_size=8))
def test_two_names_that_both_can_be_one_text_can_be_the_same(one: str, other: str, text: str):
    if expression(one).fullmatch(text) and expression(other).fullmatch(text):
        assert can_be_same(one, other)
    if is_known(one):
        assert expression(one).fullmatch(one)


@pytest.mark.parametrize("number", ["1", "007", "-3", "2.50", "   4", "nan", "inf", "-inf"])
def test_a_gap_for_a_number_holds_what_povray_makes_of_one_and_no_words(number: str):
    pattern = expression(f"map{NUMBER}.png")
    assert pattern.fullmatch(f"map{number}.png")
    assert not pattern.fullmatch("mapping.png")
    assert not pattern.fullmatch(f"map{number}/x.png")
