"""POV-Ray's options over a stored frame's settings."""

from __future__ import annotations

import pytest

from povstorm_client import InputError, RenderSettings
from povstorm_client.scene.changed_settings import changed_settings

SETTINGS = RenderSettings(
    "shared/a.pov", width=320, height=240, antialias=0.2, quality=9, final_frame=9, options=("+UA",)
)


def test_without_options_nothing_changes():
    assert changed_settings(SETTINGS, []) == SETTINGS


def test_what_decides_the_drawing_can_be_changed():
    changed = changed_settings(SETTINGS, ["+W64", "Height=48", "+Q4", "-A", "-J", "+R2"])

    assert (changed.width, changed.height, changed.quality) == (64, 48, 4)
    assert (changed.antialias, changed.jitter, changed.antialias_depth) == (None, 0.0, 2)
    assert changed.options == ("+UA",)
    assert changed_settings(SETTINGS, ["+A"]).antialias == 0.2
    assert changed_settings(SETTINGS, ["+A0.05"]).antialias == 0.05


def test_further_options_come_after_the_jobs_own():
    assert changed_settings(SETTINGS, ["-UA"]).options[0] == "+UA"
    assert len(changed_settings(SETTINGS, ["-UA"]).options) == 2


@pytest.mark.parametrize("word", ["+KFF3", "+SF2", "+Iother.pov", "+L/etc", "+K0.5"])
def test_what_would_make_it_another_frame_is_refused(word: str):
    with pytest.raises(InputError, match="cannot be changed here"):
        changed_settings(SETTINGS, [word])


def test_what_povray_does_not_know_is_refused():
    with pytest.raises(InputError, match="Zork"):
        changed_settings(SETTINGS, ["+Zork"])


def test_a_declare_comes_before_the_jobs_own_as_povray_keeps_the_first():
    settings = changed_settings(SETTINGS, ["Declare=Q=2"])
    assert changed_settings(settings, ["Declare=Q=3", "-UA"]).options == (
        "Declare=Q=3",
        "Declare=Q=2",
        "+UA",
        "Output_Alpha=off",
    )
