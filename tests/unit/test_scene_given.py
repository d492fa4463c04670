"""What a user may give for a scene that is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.errors import InputError
from povstorm_client.scene.load_scene import load_scene


def test_a_folder_given_for_a_scene_is_called_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scene .* is a folder: give an \.ini or a \.pov file"):
        load_scene(tmp_path)
