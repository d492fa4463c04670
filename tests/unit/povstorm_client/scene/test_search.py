from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client.scene.search import can_be_source


@pytest.mark.parametrize("name", ["a.pov", "a.INC", "a.mcr", "a.txt", "a", ".png"])
def test_what_a_scene_may_include_can_be_source(name: str):
    assert can_be_source(Path(name))


@pytest.mark.parametrize("name", ["a.png", "a.Png", "a.JPEG", "a.ttf", "a.df3", "a.inc.hdr"])
def test_images_fonts_and_densities_are_no_source(name: str):
    assert not can_be_source(Path(name))
