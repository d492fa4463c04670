"""Scenes with settings as users mix them: ini files, sections, switches, values written oddly.

Tests of fidelity draw from here, as many as they are told, the same for the same seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import hypothesis
from hypothesis import strategies as st


@dataclass(frozen=True)
class Case:
    """files: names and texts, beside each other; words: POV-Ray's command line."""

    files: tuple[tuple[str, str], ...]
    words: tuple[str, ...]


# Every value that the loop gives to a scene becomes a row of pixels, bit for bit, in the upper
# half. What is below shows antialiasing, jitter, bounding and radiosity.
SCENE = """#version 3.7;
global_settings { assumed_gamma 1 %(global)s }
camera { orthographic location <16, 12, -50> direction z right 32 * x up 24 * y }
#macro Box(I, J, C)
  box { <I, J, 0>, <I + 1, J + 1, 1> pigment { rgb C } finish { emission 1 ambient 0 diffuse 0 } }
#end
#macro Row(J, V)
  #local A = abs(V);
  #local E = 0;
  #if (A > 0) #local E = floor(ln(A) / ln(2)); #end
  #local M = A / pow(2, E) / 256;
  Box(0, J, <(V < 0 ? 1 : 0), mod(abs(E), 256) / 255, floor(abs(E) / 256) / 255>)
  #for (I, 1, 8)
    #local M = (M - floor(M)) * 256;
    Box(I, J, floor(M) / 255)
  #end
#end
#ifdef (Q) Row(12, Q) #end
#ifdef (q) Row(13, q) #end
Row(14, clock) Row(15, clock_delta) Row(16, frame_number) Row(17, initial_frame)
Row(18, final_frame) Row(19, initial_clock) Row(20, final_clock) Row(21, image_width)
Row(22, image_height)
#ifdef (Header) Row(23, Header) #end
#declare Turn = (abs(clock) < 1e6 ? clock : 7);
light_source { <30, 40, -60> rgb 1 %(light)s }
plane { z, 4 pigment { checker rgb 1 rgb <0.1, 0.2, 0.4> scale 1.7 rotate Turn * 20 * z } }
union {
  sphere { <20, 8, 0>, 3 } sphere { <24, 5, -1>, 2 }
  torus { 3, 1 rotate x * 70 translate <10, 6, 0> }
  pigment { rgbft <0.9, 0.5, 0.2, %(filter)s, 0> } finish { phong 0.6 reflection 0.3 }
  interior { ior 1.3 }
}
"""
_GLOBAL = (
    "",
    "",
    "radiosity { count 12 error_bound 1 pretrace_start 0.16 pretrace_end 0.04 recursion_limit 1 }",
)
_LIGHT = ("", "area_light 8 * x, 8 * y, 2, 2 jitter", "area_light 8 * x, 8 * y, 3, 3 adaptive 0")

_FRACTIONS = st.one_of(
    st.floats(-10, 10).map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        [".25", "-.5", "1.", "1e-30", "1E3", "0x10", "1e400", "5e-324", "1e-310", "-0", "+2", "2x"]
    ),
)
_SMALL = st.integers(-2, 14).map(str)
_COUNTS = st.one_of(_SMALL, _SMALL, st.sampled_from(["1e3", "2.9", "007", "+3", "3 4", "4x"]))
_ON_OFF = st.sampled_from(["on", "off", "true", "No", "1", "0", "YES", "o", "offline", "ye"])
_SIZES = st.integers(8, 40).map(str)
_FRAMES = st.integers(-2, 9).map(str)

_DECLARED = ("Q", "Q", "q", "clock", "frame_number", "image_width")

_KEYS = {
    "Width": _SIZES,
    "Height": _SIZES,
    "Quality": _COUNTS,
    "Antialias": _ON_OFF,
    "Antialias_Threshold": st.floats(0.01, 2).map(repr),
    "Antialias_Depth": _COUNTS,
    "Antialias_Gamma": st.floats(0.5, 4).map(repr),
    "Sampling_Method": _COUNTS,
    "Jitter": _ON_OFF,
    "Jitter_Amount": st.floats(-1, 2).map(repr),
    "Initial_Frame": _FRAMES,
    "Final_Frame": _FRAMES,
    "Initial_Clock": _FRACTIONS,
    "Final_Clock": _FRACTIONS,
    "Clock": _FRACTIONS,
    "Cyclic_Animation": _ON_OFF,
    "Frame_Step": st.integers(-1, 4).map(str),
    "Subset_Start_Frame": st.sampled_from(["0.5", "2", "1.9", "0", "-1"]),
    "Subset_End_Frame": st.sampled_from(["0.7", "3", "4.9"]),
    "Bounding": _ON_OFF,
    "Bounding_Method": _COUNTS,
    "Bounding_Threshold": _COUNTS,
    "BSP_MaxDepth": _COUNTS,
    "BSP_ISectCost": st.floats(1, 200).map(repr),
    "Light_Buffer": _ON_OFF,
    "Vista_Buffer": _ON_OFF,
    "Remove_Bounds": _ON_OFF,
    "Split_Unions": _ON_OFF,
    "High_Reproducibility": _ON_OFF,
    "Radiosity_Vain_Pretrace": _ON_OFF,
    "Output_Alpha": _ON_OFF,
    "Bits_Per_Color": st.integers(1, 20).map(str),
    "Bits_Per_Colour": st.integers(1, 20).map(str),
    "Grayscale_Output": _ON_OFF,
    "Dither": _ON_OFF,
    "Dither_Method": st.sampled_from(["B2", "b4", "FS", "D1"]),
    "File_Gamma": st.sampled_from(["sRGB", "1.0", "2.2", "BT709"]),
    "Display_Gamma": st.sampled_from(["sRGB", "1.0", "2.2"]),
    "Field_Render": _ON_OFF,
    "Odd_Field": _ON_OFF,
    "Preview_Start_Size": _COUNTS,
    "Preview_End_Size": _COUNTS,
    "Render_Block_Size": st.integers(4, 40).map(str),
    "Render_Block_Step": _COUNTS,
    "Render_Pattern": st.integers(0, 5).map(str),
    "Version": st.sampled_from(["3.7", "3.5", "3.50"]),
    "Declare": st.tuples(st.sampled_from(_DECLARED), _FRACTIONS).map("=".join),
    "Work_Threads": st.integers(1, 4).map(str),
    "Verbose": _ON_OFF,
    "Output_File_Type": st.sampled_from(["N", "n", "N16", "T"]),
    "Include_Header": st.just('"h d.inc"'),
    "Max_Image_Buffer_Memory": st.just("128"),
    "Test_Abort_Count": _SMALL,
    "Draw_Vistas": _ON_OFF,
    "Palette": st.just("a"),
}  # fmt: skip
_SWITCHES = {
    "W": _SIZES, "H": _SIZES, "Q": _COUNTS, "A": st.sampled_from(["", "0.3", "0.05", ".1"]),
    "AM": _COUNTS, "R": _COUNTS, "J": st.sampled_from(["", "0.5", "0", "2"]), "AG": st.just("2.2"),
    "KFI": _FRAMES, "KFF": _FRAMES, "KI": _FRACTIONS, "KF": _FRACTIONS, "K": _FRACTIONS,
    "KC": st.just(""), "STP": st.just("2"), "SF": st.sampled_from(["2", "0.5", "1.9", "05", "0"]),
    "EF": st.sampled_from(["3", "0.7", "4.2"]), "B": st.just(""), "BM": _COUNTS, "MB": _COUNTS,
    "BS": st.integers(4, 40).map(str), "RP": st.just("2"), "RS": _COUNTS, "SP": st.just("16"),
    "EP": st.just("4"), "UA": st.just(""), "UL": st.just(""), "UV": st.just(""),
    "UR": st.just(""), "SU": st.just(""), "HR": st.just(""), "RVP": st.just(""),
    "FN": st.sampled_from(["", "8", "16", "12", "3", "20", "g"]), "TH": st.sampled_from(["", "B2"]),
    "MV": st.sampled_from(["3.7", "3.5"]), "HI": st.just('"h d.inc"'), "WT": st.just("3"),
    "UF": st.just(""), "UO": st.just(""), "V": st.just(""), "X": st.just(""),
}  # fmt: skip
# Most settings do nothing alone; these make the others tell.
_TELLING = ("Antialias=on", "Final_Frame=3", "+KFF3", "+KF2", "+A0.1", "Initial_Frame=2", "+UA")


@st.composite
def _option(draw: st.DrawFn) -> tuple[str, str]:
    """An option as it stands in an ini, and as a word of the command line."""
    if draw(st.booleans()):
        return (draw(st.sampled_from(_TELLING)),) * 2
    if draw(st.booleans()):
        letters = draw(st.sampled_from(sorted(_SWITCHES)))
        # Without a file there is nothing to compare.
        signs = "+" if letters == "FN" else "++-"
        switch = draw(st.sampled_from(signs)) + draw(st.sampled_from([letters, letters.lower()]))
        text = switch + draw(_SWITCHES[letters])
        return text.replace("3 4", "3"), text.replace("3 4", "3")
    key = draw(st.sampled_from(sorted(_KEYS)))
    value = draw(_KEYS[key])
    key = draw(st.sampled_from([key, key.lower(), key.upper()]))
    form = draw(st.sampled_from(["{}={}", "{} = {}", "{}={} ; said", '{}="{}"', "{}={} +W9 +H9"]))
    if value.startswith('"') and '"' in form:
        form = "{}={}"
    return form.format(key, value), f"{key}={value}".replace("3 4", "3")


_OPTIONS = st.lists(_option(), max_size=4)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A scene, one or two inis that may name a third, perhaps a povray.ini, and words."""
    source = SCENE % {
        "global": draw(st.sampled_from(_GLOBAL)),
        "light": draw(st.sampled_from(_LIGHT)),
        "filter": draw(st.sampled_from(["0", "0.4"])),
    }
    main = ["Width=32", "Height=24"]
    if draw(st.booleans()):
        main.append("Input_File_Name=a.pov")
    main += _lines(draw(_OPTIONS))
    if draw(st.booleans()):
        main.insert(
            draw(st.integers(0, len(main))), draw(st.sampled_from(["n.ini", "Include_Ini=n"]))
        )
    for name in draw(st.lists(st.sampled_from(["one", "Two words"]), max_size=3)):
        main += [f"[{name}]", *_lines(draw(_OPTIONS))]
    files = {
        "a.pov": source,
        "h d.inc": "#declare Header = frame_number + 0.1;\n",
        "a.ini": "\n".join(main) + draw(st.sampled_from(["\n", ""])),
        "b.ini": "\n".join(_lines(draw(_OPTIONS))) + "\n",
        "n.ini": "\n".join(_lines(draw(_OPTIONS))) + "\n",
    }
    if draw(st.integers(0, 3)) == 0:
        files["povray.ini"] = "\n".join(_lines(draw(_OPTIONS))) + "\n"
    ini = draw(
        st.sampled_from(["a.ini", "a.ini", "a.ini[one]", '"a.ini[TWO WORDS]"', '"a.ini[one]"'])
    )
    words = [word for _, word in draw(st.lists(_option(), max_size=5))]
    place = draw(st.integers(0, len(words)))
    words.insert(0 if draw(st.booleans()) else place, ini)
    if draw(st.integers(0, 3)) == 0:
        words.insert(draw(st.integers(0, len(words))), "b.ini")
    if "Input_File_Name=a.pov" not in main:
        scene = draw(st.sampled_from(["+Ia.pov", "a.pov", "Input_File_Name=a.pov", "+ia"]))
        words.insert(draw(st.integers(0, len(words))), scene)
    return Case(tuple(files.items()), tuple(_limited(words, files)))


def _lines(options: list[tuple[str, str]]) -> list[str]:
    return [line for line, _ in options]


def _limited(words: list[str], files: dict[str, str]) -> list[str]:
    """Without a section that the ini lacks, which povstorm refuses in any case."""
    text = files["a.ini"].casefold()
    return [
        word if "[" not in word or word.strip('"')[5:].casefold() in text else "a.ini"
        for word in words
    ]


def draw_cases(count: int, seed: int) -> list[Case]:
    """So many different cases; the same for the same seed."""
    drawn: dict[Case, None] = {}
    # Within a run, hypothesis draws many that resemble each other.
    runs = random.Random(seed)  # noqa: S311 - no secret
    while len(drawn) < count:
        drawn |= dict.fromkeys(_draw(runs.getrandbits(32)))
    return list(drawn)[:count]


def _draw(seed: int) -> list[Case]:
    drawn: list[Case] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=10,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases())
    def collect(case: Case) -> None:
        drawn.append(case)

    collect()
    return drawn
