"""A WorkUnit refuses what could not be rendered, and its content decides its identity."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import InputError, RenderSettings, WorkUnit
from povstorm_client.frames.render_settings import decimal
from povstorm_client.frames.work_unit import MAX_INLINE_BYTES

SETTINGS = RenderSettings(scene="shared/a.pov", final_frame=60)


def unit(frame: int = 7, **inline: bytes) -> WorkUnit:
    made = WorkUnit(SETTINGS, frame=frame)
    for name, content in inline.items():
        made.add_inline_resource(f"{name}.inc", content)
    return made


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/etc/passwd", "absolute"),
        ("../outside.inc", "'..'"),
        ("a/../../b.inc", "'..'"),
        ("shared/a.inc", "./shared"),
        ("output/a.png", "./shared or ./output"),
        ("Output/a.png", "./shared or ./output"),
        ("", "empty"),
        ("a//b", "normalised"),
        ("./a", "normalised"),
        ("a\x00b", "control character"),
        ("a\\b", "backslash"),
        ("n" * 300, "too long"),
    ],
)
def test_an_inline_path_that_leaves_its_place_is_refused_by_name(path: str, reason: str):
    with pytest.raises(InputError, match=reason):
        unit().add_inline_resource(path, b"")


@pytest.mark.parametrize("text", ["not base64!", "YQ", "YQ==\n", "Y Q==", "ä"])
def test_bad_base64_is_refused(text: str):
    with pytest.raises(InputError, match=r"a\.inc.*not base64"):
        WorkUnit(SETTINGS, inline_resource={"a.inc": text})


def test_an_inline_resource_cannot_be_added_twice_nor_be_a_folder_of_another():
    made = unit()
    made.add_inline_resource("a/b", b"")
    with pytest.raises(InputError, match="twice"):
        made.add_inline_resource("a/b", b"")
    with pytest.raises(InputError, match="one is a folder of the other"):
        made.add_inline_resource("a", b"")
    with pytest.raises(InputError, match="one is a folder of the other"):
        made.add_inline_resource("a/b/c", b"")


def test_too_much_inline_data_names_the_remedy():
    with pytest.raises(InputError, match="shared resources"):
        unit().add_inline_resource("big", bytes(MAX_INLINE_BYTES + 1))


def test_a_frame_outside_of_the_animation_is_refused():
    with pytest.raises(InputError, match="frame 61 is outside"):
        unit(frame=61)


def test_cmd_runs_the_frame_as_a_subset_of_the_loop():
    cmd = unit(frame=7).cmd
    assert cmd[0] == "povray"
    assert {"+Ishared/a.pov", "+KFI1", "+KFF60", "+SF7", "+EF7", "+KI0", "+KF1"} <= set(cmd)
    assert not any(argument.startswith("+K0") for argument in cmd)


def test_the_image_name_is_padded_as_povray_pads_it():
    assert unit(frame=7).image_name == "frame_07.png"


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_units_are_equal_by_content_and_by_nothing_else(one: bytes, other: bytes):
    first, second = unit(a=one), unit(a=other)
    assert (first.content_digest() == second.content_digest()) == (one == other)
    moved = first.assigned(job_id="j", shared_prefix="", offload_prefix="jobs/j/output")
    assert moved.content_digest() == first.content_digest()
    assert moved.work_unit_id == first.work_unit_id


def test_another_shared_tree_is_other_content():
    first = unit().assigned(job_id="j", shared_prefix="shared/1", offload_prefix="o")
    second = unit().assigned(job_id="j", shared_prefix="shared/2", offload_prefix="o")
    assert first.content_digest() != second.content_digest()


@given(
    st.dictionaries(
        st.text("abcdefg_-", min_size=1, max_size=8).map(lambda name: f"{name}.inc"),
        st.binary(max_size=100),
        max_size=5,
    ),
    st.integers(1, 60),
)
def test_a_unit_survives_the_manifest(files: dict[str, bytes], frame: int):
    made = WorkUnit(SETTINGS, frame=frame)
    for path, content in files.items():
        made.add_inline_resource(path, content)
    read = WorkUnit.from_json(json.loads(json.dumps(made.to_json())))
    assert read == made
    assert read.inline_files() == files


def test_a_tampered_manifest_line_runs_no_other_program():
    data = unit().to_json() | {"cmd": ["sh", "-c", "true"], "work_unit_id": "../../x"}
    read = WorkUnit.from_json(data)
    assert read.cmd[0] == "povray"
    assert read.work_unit_id == unit().work_unit_id
    with pytest.raises(InputError):
        WorkUnit.from_json(data | {"inline_resource": {"../../x": ""}})
    with pytest.raises(InputError):
        WorkUnit.from_json({"frame": 1})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 0}, "width is 0"),
        ({"height": -1}, "height is -1"),
        ({"width": 70_000}, "width is 70000"),
        ({"quality": 12}, "quality is 12"),
        ({"initial_frame": 5, "final_frame": 2}, "before initial frame"),
        ({"initial_frame": -1}, "initial frame is -1"),
        ({"initial_clock": float("nan")}, "initial_clock"),
        ({"scene": "/etc/passwd"}, "absolute"),
        ({"library_paths": ("../x",)}, "'..'"),
        ({"options": ("+O/etc/x",)}, "not among"),
        ({"options": ("Pre_Scene_Command=rm",)}, "not among"),
        ({"threads": 0}, "threads"),
    ],
)
def test_settings_that_povray_would_refuse_or_misread_are_refused(change: dict, words: str):
    with pytest.raises(InputError, match=words):
        replace(SETTINGS, **change)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_written_without_an_exponent_and_read_back(value: float):
    written = decimal(value)
    assert re.fullmatch(r"-?\d+(\.\d+)?", written)
    assert struct.pack("d", float(written)) == struct.pack("d", value)


def test_a_header_with_a_blank_in_its_name_is_one_argument():
    settings = replace(SETTINGS, options=("Include_Header=h d.inc",))
    assert 'Include_Header="h d.inc"' in settings.command(1)


@pytest.mark.parametrize("header", ["/etc/passwd", "../x", 'a"b', "a'b", "a\nb", " a", "ü.inc"])
def test_a_header_leads_nowhere_else_and_ends_no_argument(header: str):
    with pytest.raises(InputError, match="not among"):
        replace(SETTINGS, options=(f"Include_Header={header}",))


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6))
def test_clock_values_are_written_without_an_exponent(clock: float):
    settings = replace(SETTINGS, initial_clock=clock)
    argument = next(text for text in settings.command(1) if text.startswith("+KI"))
    assert "e" not in argument
    assert float(argument.removeprefix("+KI")) == pytest.approx(clock, abs=1e-24)
