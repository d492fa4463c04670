"""Without a sandbox a scene reaches its user's files, but not by the names of its own ones."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from povstorm_client import RenderError, RenderSettings, WorkUnit
from povstorm_client.jobs import shared_resources
from povstorm_client.paths import SCENE_FOLDER
from povstorm_client.programs.tools import require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage
from render_image.render_unit import render_unit
from render_image.workspace import make_workspace
from tests.conftest import SPHERE

JOB = "job"
OWN = f"{SCENE_FOLDER}/notes.txt"
CONTENTS = {"colour.inc": b"#declare C = rgb 1;\n", OWN: b'"as submitted"\n'}


@pytest.fixture
def submitted(tmp_path: Path) -> dict[str, Path]:
    files = {}
    for number, (path, content) in enumerate(CONTENTS.items()):
        files[path] = tmp_path / f"file-{number}"
        files[path].write_bytes(content)
    return files


def stage(storage: Storage, files: dict[str, Path]) -> str:
    return shared_resources.stage(storage, shared_resources.upload_missing(storage, files))


def frame(number: int, scene: str, prefix: str) -> WorkUnit:
    settings = RenderSettings(
        scene="scene.pov",
        width=32,
        height=24,
        initial_frame=1,
        final_frame=2,
        folder=SCENE_FOLDER,
    )
    unit = WorkUnit(settings, frame=number)
    unit.add_inline_resource("scene.pov", scene)
    return unit.assigned(job_id=JOB, shared_prefix=prefix, offload_prefix=layout.output(JOB))


def stored(storage: FolderStorage, prefix: str) -> dict[str, bytes]:
    return {
        entry.key: storage.read(entry.key)
        for top in (prefix, layout.BLOBS)
        for entry in storage.list(top)
    }


@pytest.mark.parametrize("mode", ["write", "append"])
@pytest.mark.parametrize("path", ['concat("no", "tes.txt")', '"../shared/colour.inc"'])
def test_a_scene_that_writes_over_its_own_files_changes_nothing_that_is_stored(
    mode: str, path: str, storage: FolderStorage, submitted: dict[str, Path]
):
    prefix = stage(storage, submitted)
    before = stored(storage, prefix)
    scene = f'{SPHERE}\n#fopen F {path} {mode}\n#write (F, "changed")\n#fclose F\n'
    try:
        asyncio.run(render_unit(frame(1, scene, prefix), storage, require_povray(), sandbox="off"))
    except RenderError as error:  # who is not root may not write to what is read-only
        assert "Cannot open user file" in str(error)
    assert stored(storage, prefix) == before


def test_frames_do_not_see_what_another_wrote_to_a_shared_file(
    storage: FolderStorage, submitted: dict[str, Path]
):
    prefix = stage(storage, submitted)
    for number in (1, 2):
        with make_workspace(frame(number, SPHERE, prefix), storage) as workspace:
            for path, content in CONTENTS.items():
                assert workspace.shared is not None
                for seen in (workspace.shared / path, workspace.folder / "shared" / path):
                    assert seen.read_bytes() == content
                assert (workspace.shared / path).stat().st_mode & 0o222 == 0
                (workspace.shared / path).chmod(0o600)
                (workspace.shared / path).write_bytes(b"changed")
            assert (workspace.folder / OWN).read_bytes() == b"changed"
            root = workspace.folder.parent
        assert not root.exists()


def test_a_link_in_a_stored_tree_is_not_taken_into_a_frame(
    storage: FolderStorage, submitted: dict[str, Path], tmp_path: Path
):
    (tmp_path / "letter.txt").write_text("private")
    prefix = stage(storage, submitted)
    (storage.path(prefix) / "link.inc").symlink_to(tmp_path / "letter.txt")
    (storage.path(prefix) / "folder").symlink_to(tmp_path)
    with make_workspace(frame(1, SPHERE, prefix), storage) as workspace:
        assert workspace.shared is not None
        names = sorted(path.name for path in workspace.shared.iterdir())
    assert names == sorted({path.split("/")[0] for path in CONTENTS})


def test_what_frames_in_a_container_share_is_read_only(
    gcs_storage: GcsStorage, submitted: dict[str, Path]
):
    prefix = stage(gcs_storage, submitted)
    with make_workspace(frame(1, SPHERE, prefix), gcs_storage) as workspace:
        assert workspace.shared is not None
        for path in (workspace.shared, *workspace.shared.rglob("*")):
            assert path.stat().st_mode & 0o222 == 0, path
