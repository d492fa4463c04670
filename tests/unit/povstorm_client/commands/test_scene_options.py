"""A value that an option cannot mean is one error, before any work, that names the option."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from povstorm_client import PovstormError, command_line
from povstorm_client.programs.tools import POVRAY_VARIABLE


@pytest.fixture(autouse=True)
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.pov").write_text("#declare Size = 1;\nsphere { 0, Size }\n// Sizes\n", "utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--motion-blur 0", "--motion-blur is 0: give 2 to 256 moments, or leave it out"),
        ("--motion-blur 1", "--motion-blur is 1: give 2 to 256"),
        ("--motion-blur -3", "--motion-blur is -3: give 2 to 256"),
        ("--motion-blur 257", "--motion-blur is 257: give 2 to 256"),
        ("--frame-timeout never", "--frame-timeout is 'never': give seconds above 0, or off"),
        ("--frame-timeout 0", "--frame-timeout is '0': give seconds above 0, or off"),
        ("--frame-timeout nan", "--frame-timeout is 'nan': give seconds above 0, or off"),
        ("--stall-timeout never", "--stall-timeout is 'never': give seconds above 0, or off"),
        ("--stall-timeout ''", "--stall-timeout is '': give seconds above 0, or off"),
        ("--max-cost -1", "--max-cost is -1.0: give US dollars above 0"),
        ("--max-cost nan", "--max-cost is nan"),
        ("--retries 99", "--retries is 99: 0 to 10"),
        ("--seconds-per-frame 0", "--seconds-per-frame is 0.0: give CPU seconds above 0"),
        ("--frame-memory inf", "--frame-memory is inf"),
        ("--frame-memory 1e300", "--frame-memory is 1.074e+309 bytes: no machine has more than"),
        ("--frame-timeout 1e12", "--frame-timeout is 1000000000000.0, above 100,000,000,000: give"),
        ("--max-cost 1e13", "--max-cost is 10000000000000.0, above 1,000,000,000,000: give US"),
        ("--fps 1e-50", "--fps is 1e-50, a fraction of more than 40 digits: round it"),
        ("--fps 0", "--fps is 0: frames a second are above 0"),
        ("--fps abc", "--fps 'abc' is no number: give 24, 23.976 or"),
        ("--fps 60 --video gif", "--fps is 60: a gif has at most 50 frames a second"),
        ("--video exe", "--video format 'exe' is not known: mp4, webm"),
        ("--lean slow", "--lean is 'slow': give prefer one of"),
        ("--codec hevc", "--codec is 'hevc': give one of h264, h265, av1, vp9, prores"),
        ("--codec vp9", "--codec is vp9, which does not go into mp4 (its codecs: h264, h265, av1)"),
        ("--crf 52", "--crf is 52: h264 knows 0 (the best) to 51"),
        ("--crf 20 --video mov", "--crf is 20, and prores has none: leave it out"),
        ("--tone-map aces", "--tone-map is 'aces': give one of clip, reinhard, hable"),
        ("--exposure 33", "--exposure is 33: give stops, from -32 to 32"),
        ("--exposure nan", "--exposure is nan"),
        ("+FEg", "OpenEXR and HDR images in colour only: remove Grayscale_Output"),
        ("--prefer slow", "--prefer is 'slow': give one of fastest, balanced, cheapest"),
        ("--declare Size=3..1", "'3..1' has no values, as it counts down: write 1..3"),
        ("--declare Size=1..3x0", "'1..3x0' has no values, as its step is not above 0"),
    ],
)
@pytest.mark.parametrize("command", ["render", "submit"])
def test_it_is_refused_by_the_options_name(command: str, words: str, message: str):
    with pytest.raises(PovstormError) as refused:
        command_line.run([command, "a.pov", *shlex.split(words)])

    assert message in str(refused.value)
    assert [path.name for path in Path.cwd().iterdir()] == ["a.pov"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--tone-map aces", "--tone-map is 'aces': give one of clip, reinhard, hable"),
        ("--exposure 33", "--exposure is 33: give stops, from -32 to 32"),
        ("--fps 0", "--fps is 0: frames a second are above 0"),
    ],
)
def test_watch_refuses_it_alike(words: str, message: str):
    with pytest.raises(PovstormError) as refused:
        command_line.run(["watch", "a.pov", "--no-open", *shlex.split(words)])
    assert message in str(refused.value)


def test_a_program_that_is_no_povray_is_refused_by_its_path(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(POVRAY_VARIABLE, "")
    with pytest.raises(PovstormError, match=r"/bin/true is no POV-Ray: .* Give --povray"):
        command_line.run(["render", "a.pov", "--povray", "/bin/true"])


@pytest.mark.parametrize("option", ["--frame-timeout", "--stall-timeout"])
def test_a_limit_of_time_can_be_off(option: str, capsys: pytest.CaptureFixture[str]):
    assert command_line.run(["render", "a.pov", "--dry-run", option, "off"]) == 0
    assert "scene    a" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("declare", "warning"),
    [
        ("Sise=1,2", "no file of the scene uses Sise, so that its values change nothing; did you "),
        ("size=1,2", "no file of the scene uses size, so that its values change nothing; did you "),
        # It is in a comment only.
        ("Sizes=1,2", "no file of the scene uses Sizes"),
    ],
)
def test_a_declared_name_that_the_scene_never_uses_is_a_warning(
    declare: str, warning: str, capsys: pytest.CaptureFixture[str]
):
    command_line.run(["render", "a.pov", "--dry-run", "--declare", declare])
    told = capsys.readouterr().err
    assert f"warning: --declare: {warning}" in told
    assert "did you mean Size?" in told


def test_a_declared_name_that_an_include_uses_is_none(capsys: pytest.CaptureFixture[str]):
    Path("a.pov").write_text('#include "b.inc"\n', "utf-8")
    Path("b.inc").write_text("sphere { 0, Size }\n", "utf-8")
    command_line.run(["render", "a.pov", "--dry-run", "--declare", "Size=1,2"])
    assert "--declare" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        ("+KFF3 --shutter 90", {"shutter": "it is for motion blur; give --motion-blur N too"}),
        ("+KFF3 --shutter 90 --motion-blur 2", {}),
        (
            "+KFF3 --video none --fps 12 --codec h265 --crf 30 --allow-missing-frames",
            dict.fromkeys(
                ("fps", "codec", "crf", "allow-missing-frames"),
                "the job makes no video, as --video none asks",
            ),
        ),
        ("--video webm --fps 12", dict.fromkeys(("fps", "video"), "stills make no video")),
        ("--video none", {}),
        ("--no-open", {"no-open": "it is for the live page; give --live too"}),
        ("--live --no-open", {}),
        ("--declare Size=1,2 --codec h265", {"codec": "stills make no video"}),
        (
            "+KFF3 --prefer fastest --max-cost 3 --seconds-per-frame 2 --in-order",
            dict.fromkeys(
                ("prefer", "max-cost", "seconds-per-frame", "in-order"),
                "it is for Google Cloud, and this machine renders",
            ),
        ),
        # A preview says what it would be there.
        ("+KFF3 --prefer fastest --preview", {}),
        ("+KFF3 --fps 12 --codec h265 --crf 30 --frame-memory 2 --retries 1", {}),
    ],
)
def test_an_option_that_does_nothing_is_told(
    words: str, idle: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    command_line.run(["render", "a.pov", "--dry-run", *shlex.split(words)])
    told = capsys.readouterr().err.splitlines()
    assert sorted(line for line in told if "does nothing" in line) == sorted(
        f"povstorm: warning: --{name} does nothing: {why}" for name, why in idle.items()
    )


@pytest.mark.parametrize("words", ["''", "+W64", "' ' +W64"])
def test_without_a_scene_one_is_asked_for(words: str):
    with pytest.raises(PovstormError, match=r"^no scene is named: give FILE\.ini, FILE\.pov, "):
        command_line.run(["render", *shlex.split(words), "--dry-run"])


@pytest.mark.parametrize(
    "command", ["render a.pov --dry-run", "retry last", "fetch last", "report last", "frame last 1"]
)
def test_an_empty_output_is_not_taken_for_the_current_folder(command: str):
    with pytest.raises(PovstormError, match="--output is empty: name a place for the results, or"):
        command_line.run([*command.split(), "--output", ""])


def test_watch_says_it_in_the_same_words():
    with pytest.raises(PovstormError, match="--fps 'abc' is no number"):
        command_line.run(["watch", "a.pov", "--fps", "abc", "--no-open"])
