"""A variant's images are those of POV-Ray's own runs, one for each value, state and all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from povstorm_client.scene.load_scene import Scene
from povstorm_client.scene_job import read_scene
from povstorm_client.storage.folder import FolderStorage
from tests.fidelity.compare import by_povray, by_povstorm, pixels

HEAD = "#version 3.7; global_settings { assumed_gamma 1 }\n#declare Level = 0;\n"
COUNT = (
    '#if (file_exists("n.txt")) #fopen F "n.txt" read #read (F, Level) #fclose F #end\n'
    "#declare Level = Level + N;\n"
    '#fopen F "n.txt" write #write (F, Level, ",") #fclose F\n'
)
SHOW = "background { rgb <mod(Level, 16) / 16, N / 16, clock> }\n"


def loaded(home: Path, *words: str, declare: list[str], **options: object) -> Scene:
    given = {"frames": None, "size": "32x24", "preview": False, "include": None, "threads": None}
    return read_scene(
        "own.pov", switches=list(words), warn=pytest.fail, cwd=home, declare=declare, **given
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("words", [(), ("+KFF3",)], ids=["a still", "an animation with state"])
def test_each_value_has_povrays_own_pixels(
    home: Path, storage: FolderStorage, words: tuple[str, ...]
):
    (home / "own.pov").write_text(HEAD + COUNT + SHOW, "utf-8")
    ours = by_povstorm(loaded(home, *words, declare=["N=3..5"]), storage)

    assert len(ours) == 3 * (3 if words else 1)
    for index, value in enumerate((3, 4, 5), start=1):
        alone = home.parent / str(value)
        shutil.copytree(home, alone)
        theirs = by_povray(alone, "own.pov", "+W32", "+H24", f"Declare=N={value}", *words)
        for name, image in theirs.items():
            number = name.removeprefix("frame_") if words else ".png"
            assert pixels(ours[f"frame_{index}{number}"]) == pixels(image)


def test_a_value_of_a_variant_comes_before_the_scenes_own_options(home: Path):
    (home / "own.pov").write_text(HEAD + SHOW, "utf-8")
    scene = loaded(home, "Declare=N=9", declare=["N=1,2"])
    units = scene.work_units()
    declared = [[each for each in unit.cmd if each.startswith("Declare=")] for unit in units]
    assert declared == [["Declare=N=1"], ["Declare=N=2"]]
    assert {unit.settings.threads for unit in units} == {1}
