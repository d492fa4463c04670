"""What --declare stands for: the variants, in order; one clear error for what it cannot mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from povstorm_client import InputError, RenderSettings, WorkUnit
from povstorm_client.scene.load_scene import Scene
from povstorm_client.scene.variants import merged_variants, read_variants


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("N=3..6", ["3", "4", "5", "6"]),
        ("N=3,5,8", ["3", "5", "8"]),
        ("N=0..1x0.25", ["0", "0.25", "0.5", "0.75", "1"]),
        ("N=-1..1", ["-1", "0", "1"]),
        ("N=0.1..0.3x0.1, 7", ["0.1", "0.2", "0.3", "7"]),
        ("N = 10..30x10", ["10", "20", "30"]),
        ("N=0..1x0.4", ["0", "0.4", "0.8"]),
        ("N=.5", ["0.5"]),
        ("N=1e3..3E3x1e3", ["1000", "2000", "3000"]),
        ("N=1e-4,2", ["0.0001", "2"]),
    ],
)
def test_ranges_steps_and_lists(text: str, values: list[str]):
    assert read_variants([text]) == tuple((f"Declare=N={value}",) for value in values)


def test_several_names_make_all_combinations_and_none_makes_one_variant():
    assert read_variants(["A=1,2", "B=5..6"]) == (
        ("Declare=A=1", "Declare=B=5"),
        ("Declare=A=1", "Declare=B=6"),
        ("Declare=A=2", "Declare=B=5"),
        ("Declare=A=2", "Declare=B=6"),
    )
    assert read_variants([]) == ((),)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["N="], r"N= has no values: write N=3\.\.9"),
        (["N"], "is not understood: write NAME=3"),
        (["3=4"], "is not understood"),
        (["N=x"], "'x' is no number and no range"),
        (["N=3-9"], "'3-9' is no number and no range"),
        (["N=1,,2"], "'' is no number"),
        (["N=9..3"], r"'9\.\.3' has no values, as it counts down: write 3\.\.9"),
        (["N=1..3x0"], r"'1\.\.3x0' has no values"),
        (["N=1..3,2"], "has a value twice"),
        (["N=1", "N=2"], "names N twice"),
        (
            ["N=0..1x0.0000001"],
            "makes 10,000,001 variants of the scene, and a job has 10,000 at most",
        ),
        (["N=1..1e9"], r"N=1\.\.1e9 makes 1,000,000,000 variants .* a larger step"),
        (["N=1..200", "M=1..51"], "N=1..200 M=1..51 makes 10,200 variants"),
        (["A=1..2000", "B=1..2000"], "makes 4,000,000 variants"),
    ],
)
def test_what_makes_no_variants_is_one_clear_error(texts: list[str], reason: str):
    with pytest.raises(InputError, match=reason):
        read_variants(texts)


def scene(*frames: int, last: int = 1, **fields: object) -> Scene:
    settings = RenderSettings("scene/a.pov", final_frame=last)
    return Scene("a", settings, frames, {"scene/a.pov": Path("a.pov")}, (), (), **fields)


def test_a_variants_frames_have_its_digits_before_their_own():
    merged = merged_variants([scene(*range(8, 11), last=10)] * 12)
    units = merged.work_units()
    assert merged.frames[:4] == (108, 109, 110, 208)
    assert merged.frames[-1] == 1210
    assert [units[0].image_name, units[-1].image_name] == ["frame_0108.png", "frame_1210.png"]
    assert [units[0].settings.loop_frame(108), units[-1].settings.loop_frame(1210)] == [8, 10]
    assert "+SF8" in units[0].cmd
    assert "+Ooutput/frame_01.png" in units[0].cmd
    assert units[-1].settings.clock_of(1210) == 1.0


def test_a_job_of_stills_has_a_frame_for_each_variant():
    units = merged_variants([scene(1)] * 3).work_units()
    assert [unit.frame for unit in units] == [1, 2, 3]
    assert [unit.image_name for unit in units] == ["frame_1.png", "frame_2.png", "frame_3.png"]
    assert "+Ooutput/frame_3.png" in units[2].cmd


def test_what_belongs_to_a_frame_is_its_variants():
    left = scene(1, 2, last=2, state={2: {"scene/n.txt": b"one"}})
    right = scene(1, 2, last=2, state={2: {"scene/n.txt": b"two"}})
    units = merged_variants([left, right]).work_units()
    assert [unit.inline_files() for unit in units] == [
        {},
        {"scene/n.txt": b"one"},
        {},
        {"scene/n.txt": b"two"},
    ]


def test_more_frames_than_a_job_may_have_are_refused():
    with pytest.raises(InputError, match="more than the 1,000,000"):
        merged_variants([scene(*range(1, 200_001), last=200_000)] * 6)


def test_numbers_that_povray_cannot_count_to_are_refused():
    with pytest.raises(InputError, match="make several jobs"):
        merged_variants([scene(1_999_999_999, last=2_000_000_000)] * 2)


@pytest.mark.parametrize("variant", ["x", "-1", "1234567890", "1\n", "²"])
def test_a_variant_is_digits(variant: str):
    with pytest.raises(InputError, match="variant is"):
        RenderSettings("a.pov", variant=variant)


@pytest.mark.parametrize("frame", [1, 100, 111, 200, 1105])
def test_a_number_of_another_variant_is_no_frame_of_it(frame: int):
    settings = RenderSettings("a.pov", final_frame=10, variant="1")
    with pytest.raises(InputError, match="outside of the animation"):
        WorkUnit(settings, frame=frame)
