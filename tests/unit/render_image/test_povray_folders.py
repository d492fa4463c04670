"""What a frame may read of POV-Ray's installation is that of the POV-Ray which renders it."""

from __future__ import annotations

import pytest

from povstorm_client.programs.tools import POVRAY_VARIABLE
from povstorm_client.scene import search
from render_image.sandbox import povray_folders


def test_another_povray_has_folders_of_its_own(monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as another:
        another.setenv(POVRAY_VARIABLE, "/opt/newer/povray")
        another.setattr(search, "povray_is_newer", lambda: True)
        of_another = povray_folders()

    of_this = povray_folders()

    assert any((folder / "colors.inc").exists() for folder in of_this)
    assert of_another != of_this
