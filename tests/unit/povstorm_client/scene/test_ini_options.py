"""Each of POV-Ray 3.7's options is read, handed on, refused, or shown to change no pixel."""

from __future__ import annotations

import pytest

from povstorm_client import InputError, RenderSettings
from povstorm_client.scene.ini import PovraySettings, read_switches
from povstorm_client.scene.ini_options import KEYS, SWITCHES
from tests.fidelity.option_fates import (
    FOLLOWED,
    HANDED_ON,
    OBSOLETE,
    READ,
    REFUSED,
    TOLD,
    WITHOUT_EFFECT,
)

ALL = " ".join((READ, HANDED_ON, REFUSED, FOLLOWED, TOLD, WITHOUT_EFFECT, OBSOLETE)).split()


def said(word: str) -> PovraySettings:
    settings = PovraySettings()
    read_switches(settings, [word])
    return settings


def test_each_option_is_one_of_these_and_once():
    names = [word.partition("=")[0].casefold() for word in ALL]
    assert sorted(names) == sorted(KEYS)


def test_each_switch_sets_options_that_are_one_of_these():
    keys = {key.casefold() for switch in SWITCHES for key in switch[1:] if key}
    assert keys - KEYS.keys() == {"+f"}


@pytest.mark.parametrize("word", READ.split())
def test_what_is_read_is_kept_by_its_name(word: str):
    settings = said(word)
    kept = settings.values or settings.numbers or settings.switched or settings.library_paths
    assert kept
    assert settings.options == {}


@pytest.mark.parametrize("word", HANDED_ON.split())
def test_what_is_handed_on_comes_to_povray(word: str):
    [option] = said(word).options.values()
    assert option in RenderSettings("a.pov", options=(option,)).command(1)
    assert option == ("+FN16" if word.startswith("Bits") else word)


@pytest.mark.parametrize("word", REFUSED.split())
def test_what_is_refused_says_why(word: str):
    with pytest.raises(InputError, match=r"whole frames|runs none beside POV-Ray"):
        said(word)


@pytest.mark.parametrize("word", [*WITHOUT_EFFECT.split(), *OBSOLETE.split()])
def test_what_has_no_effect_on_pixels_leaves_nothing(word: str):
    assert said(word) == PovraySettings()


def test_another_kind_of_file_is_told_of():
    assert "PNG" in said(TOLD).warnings[0]
