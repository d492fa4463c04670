"""Whatever settings and options say, the pixels are POV-Ray's own, or it is told in advance.

``python -m tests.fidelity`` draws as many further cases as one likes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import frexp
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from povstorm_client.frames.render_settings import RenderSettings, decimal
from povstorm_client.scene.load_scene import load_scene
from povstorm_client.storage.folder import FolderStorage
from tests.fidelity.cases import SCENE, Case, draw_cases
from tests.fidelity.compare import by_povray, by_povstorm, differences
from tests.fidelity.option_fates import WITHOUT_EFFECT
from tests.fidelity.outcome import outcome, outcomes

PLAIN = SCENE % {"global": "", "light": "", "filter": "0"}
RADIOSITY = SCENE % {
    "global": "radiosity { count 12 error_bound 1 pretrace_start 0.16 pretrace_end 0.04 }",
    "light": "",
    "filter": "0",
}
SIZE = "+W32 +H24\n"


def test_settings_drawn_by_chance_render_as_povray_renders_them_or_are_told_of():
    different: list[str] = []
    counts = outcomes(
        draw_cases(20, seed=20261125),
        at_once=8,
        tell=lambda result: different.append(str(result)) if result.kind == "different" else None,
    )
    assert not different, "\n".join(different)
    assert counts["equal"] >= 10, counts


@pytest.mark.parametrize(
    ("ini", "words"),
    [
        ("Declare=Q=.25\nFinal_Frame=2\n", ("a.ini", "a.pov", "Declare=Q=.5")),
        ("Declare=clock=3\nDeclare=frame_number=9\n", ("a.ini", "a.pov", "+KFF2")),
        ("+KFF2 +KF1e-30 +KI-1e-310\n", ("a.ini", "a.pov")),
        ("Final_Clock=1e300\nFinal_Frame=1e3\n", ("a.ini", "a.pov", "+KFF2", "+KI0x10")),
        ("+KFI-1 +KFF1\n", ("a.ini", "a.pov")),
        ("+KFI-1 +KFF0\n", ("a.ini", "a.pov")),
        ("Final_Frame=1\n", ("a.ini", "a.pov")),
        ("Initial_Frame=1\n", ("a.ini", "a.pov")),
        ("+KFI3\n", ("a.ini", "a.pov")),
        ('Include_Header="h d.inc"\n', ("a.ini", "a.pov", "+KFF2")),
        ("+KFF2\n", ("a.ini", "a.pov", "+R0", "+Q12", "+A0.1")),
        ("+KFF2 +W8 +H6\n", ("a.ini", "a.pov", "+R12", "+AM2", "+A0.1")),
        ("+KFF2\n", ("a.ini", "a.pov", "+AM0", "+A0.1")),
        ("+KFF2 +W8 +H6\n", ("a.ini", "a.pov", "+A0.1", "+AM7", "+R-2")),
        ("+KFF2\nAntialias=on\nAntialias_Threshold=1.2\n", ("a.ini", "a.pov")),
        ("+KFF3 +KF5\n", ("+KF0.9", "a.ini", "a.pov", "+SF3")),
        ("+KFF3 +KF5\n", ("b.ini", "a.ini", "+Ia.pov", "+SF3")),
        ("+KFF3\n+KF5\n", ("a.ini", "b.ini", "+Ia.pov", "+SF3")),
        ("", ("+Ia.pov", "+W10", "+H8")),
    ],
)
def test_what_strangers_wrote_has_povrays_pixels(tmp_path: Path, ini: str, words: tuple[str, ...]):
    files = {
        "a.pov": PLAIN,
        "a.ini": SIZE + ini,
        "b.ini": "Final_Clock=0.9\n",
        "h d.inc": "#declare Header = 0.1;\n",
    }
    result = outcome(Case(tuple(files.items()), words), tmp_path)
    assert result.kind == "equal", str(result)


@pytest.mark.parametrize("words", [("+SP16", "+EP4"), ("+SP8", "+EP8"), ("+RVP",), ("+HR",)])
def test_the_options_that_move_radiositys_samples_are_handed_on(
    tmp_path: Path, words: tuple[str, ...]
):
    files = {"a.pov": RADIOSITY, "a.ini": SIZE + "+KFF2\n"}
    result = outcome(Case(tuple(files.items()), ("a.ini", "a.pov", *words)), tmp_path)
    assert result.kind == "equal", str(result)


def test_the_mosaic_preview_changes_radiosity(tmp_path: Path):
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    for folder in tmp_path.iterdir():
        (folder / "a.pov").write_text(RADIOSITY)
    sizes = ("+Ia.pov", "+W32", "+H24")
    mosaic = by_povray(tmp_path / "with", *sizes, "+SP16", "+EP4")
    assert differences(mosaic, by_povray(tmp_path / "without", *sizes))


def test_photons_begin_anew_in_each_frame_as_in_povrays_subset_of_one(
    tmp_path: Path, storage: FolderStorage
):
    """Its own loop goes on with their random numbers, which is told in advance."""
    source = (
        "#version 3.7; global_settings { assumed_gamma 1 photons { count 2000 } }\n"
        "camera { location <0, 3, -5> look_at 0 }\n"
        "light_source { <3, 6, -2> 1 photons { refraction on reflection on } }\n"
        "plane { y, -1 pigment { rgb 1 } }\n"
        "sphere { 0, 1 pigment { rgbf 0.95 } interior { ior 1.5 } photons { target } }\n"
    )
    (tmp_path / "alone").mkdir()
    for folder in (tmp_path, tmp_path / "alone"):
        (folder / "a.pov").write_text(source)
    words = ("+W32", "+H24", "+KFF2")
    scene = load_scene("a.pov", switches=words, cwd=tmp_path)
    assert "photons" in scene.warnings[0]
    ours = by_povstorm(scene, storage)
    assert differences(ours, by_povray(tmp_path, "+Ia.pov", *words)) == [
        "frame_2.png has other pixels"
    ]
    alone = by_povray(tmp_path / "alone", "+Ia.pov", *words, "+SF2", "+EF2")
    assert differences({"frame_2.png": ours["frame_2.png"]}, alone) == []


CARRIERS = """#version 3.7;
global_settings { assumed_gamma 1 mm_per_unit 10 subsurface { samples 10, 5 }
  radiosity { count 10 error_bound 1 recursion_limit 1 } }
camera { location <0, 3, -5> look_at 0 focal_point 0 aperture 0.4 blur_samples 7 }
light_source { <3, 6, -2> 1 area_light x * 2, z * 2, 3, 3 jitter adaptive 1 }
plane { y, -1 pigment { crackle } normal { bumps } }
sphere { 0, 1 pigment { rgb <1, 0.5, 0.2> } interior { ior 1.5 }
  finish { subsurface { translucency <0.5, 0.3, 0.1> } reflection 0.2 } }
box { <-2, -1, -1>, <-1, 1, 1> hollow pigment { rgbt 1 }
  interior { media { emission 0.4 scattering { 1, 0.3 } samples 3 jitter 1
    density { wrinkles } } } }
#declare S = seed(3);
#for (I, 1, 5) sphere { <rand(S), rand(S), rand(S)> * 2, 0.2 pigment { rgb rand(S) } } #end
"""


def test_nothing_but_photons_is_carried_from_frame_to_frame(tmp_path: Path):
    result = outcome(
        Case((("a.pov", CARRIERS), ("a.ini", "+W16 +H12 +KFF3 +A0.3\n")), ("a.ini", "a.pov")),
        tmp_path,
    )
    assert result.kind == "equal", str(result)


DOUBLES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([5e-324, -5e-324, 1e-310, 2.2250738585072014e-308, 1.7976931348623157e308]),
)


@settings(max_examples=3, phases=[Phase.generate])
@given(st.lists(DOUBLES, min_size=60, max_size=60), DOUBLES, DOUBLES)
def test_povray_reads_the_same_double_of_our_text_as_of_the_users(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], initial: float, final: float
):
    """The scene writes each as a whole number, after scaling by powers of 2, which is exact.

    Equal, not right: of some numbers POV-Ray keeps fewer digits than it was given.
    """
    wanted = {f"V{number}": value for number, value in enumerate(values)}
    wanted |= {"initial_clock": initial, "final_clock": final}
    lines = ['#version 3.7; #fopen F "told.txt" write']
    for name, value in wanted.items():
        shift = 53 - frexp(value)[1]
        half = shift // 2
        scaled = f"{name} * pow(2, {half}) * pow(2, {shift - half})"
        lines.append(f'#write (F, "{name} ", str({scaled}, 0, 0), "\\n")')
    source = "\n".join([*lines, "#fclose F"]) + "\n"

    def told(number_text: Callable[[float], str]) -> str:
        folder = tmp_path_factory.mktemp("doubles")
        (folder / "a.pov").write_text(source)
        declared = (f"Declare={name}={number_text(wanted[name])}" for name in [*wanted][:-2])
        loop = ("+KFI1", "+KFF2", "+EF1", f"+KI{number_text(initial)}", f"+KF{number_text(final)}")
        subprocess.run(
            ["povray", "+Ia.pov", "+W8", "+H8", "-D", "-F", *loop, *declared],
            cwd=folder, env={"PATH": os.environ["PATH"], "HOME": str(folder)}, check=True,
            capture_output=True,
        )  # fmt: skip
        return (folder / "told.txt").read_text()

    ours = told(decimal)
    assert ours == told(repr)
    assert len(ours.splitlines()) == len(wanted)


def test_the_options_that_are_not_handed_on_change_no_pixel(tmp_path: Path):
    def render(number: int, *words: str) -> dict[str, Path]:
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.pov").write_text(PLAIN)
        return by_povray(folder, *words, "+Ia.pov", "+W32", "+H24", "+A0.1")

    options = WITHOUT_EFFECT.split()
    plain = render(0)
    assert plain
    with ThreadPoolExecutor(8) as pool:
        rendered = list(pool.map(render, range(1, len(options) + 1), options))
    for option, files in zip(options, rendered, strict=True):
        images = {name: path for name, path in files.items() if path.suffix == ".png"}
        assert differences(images, plain) == [], option


@pytest.mark.parametrize(
    ("given", "frame"),
    [
        ({"initial_frame": 3, "final_frame": 8, "initial_clock": -1.5, "final_clock": 2.0}, 5),
        ({"final_frame": 7, "cyclic": True}, 7),
        ({"initial_frame": 7, "final_frame": 7, "initial_clock": 0.5, "cyclic": True}, 7),
        ({"clock": 2.25}, 1),
        ({"initial_clock": 0.5}, 1),
        ({"final_frame": 4, "clock": 2.25}, 2),
    ],
)
def test_the_clock_that_is_told_of_a_frame_is_the_one_that_its_scene_sees(
    tmp_path: Path, given: dict[str, Any], frame: int
):
    (tmp_path / "a.pov").write_text('#debug concat("clock=", str(clock, 0, 9), "\\n")\n')
    (tmp_path / "output").mkdir()
    settings = RenderSettings("a.pov", 8, 8, **given)

    said = subprocess.run(
        settings.command(frame), cwd=tmp_path, capture_output=True, text=True, check=False
    ).stderr

    seen = float(said.partition("clock=")[2].split()[0])
    # POV-Ray counts it in single precision.
    assert settings.clock_of(frame) == pytest.approx(seen, abs=1e-6)
