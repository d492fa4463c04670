"""The map of a job's frames: narrow, readable without colour, and hiding no failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.commands.status_map import frame_map, frames_per_cell

STATES = ["rendered", "working", "retrying", "failed", "waiting"]


def rows(frames: dict[int, str], **options) -> list[str]:
    """The cells of each row, without its label and the gaps."""
    return [
        line[6:].replace(" ", "") for line in str(frame_map(frames, **options)).split("\n")[:-1]
    ]


def test_each_frame_of_a_small_job_has_a_mark_for_its_state():
    frames = dict(zip(range(1, 6), STATES, strict=True))

    assert rows(frames) == ["■▸↻✗·"]
    assert rows(frames, ascii_only=True) == ["#>?x."]


def test_rows_begin_with_their_first_frame():
    lines = str(frame_map(dict.fromkeys(range(5, 605, 5), "waiting"))).split("\n")

    assert [line.split()[0] for line in lines[:2]] == ["5", "305"]


def test_the_legend_has_what_is_on_the_map_and_nothing_else():
    legend = str(frame_map({1: "rendered", 2: "failed"})).split("\n")[-1]

    assert legend.split() == ["■", "rendered", "✗", "failed"]


def test_a_mark_for_several_frames_tells_how_many_are_rendered():
    frames = dict.fromkeys(range(1, 4801), "waiting")
    frames |= dict.fromkeys(range(1, 16), "rendered")

    assert rows(frames)[0].startswith("■▄·")
    assert "one mark: 10 frames" in str(frame_map(frames))


@pytest.mark.parametrize(
    ("total", "size"), [(1, 1), (480, 1), (481, 2), (2401, 10), (100_000, 500)]
)
def test_as_few_frames_share_a_mark_as_fit(total: int, size: int):
    assert frames_per_cell(total) == size


@given(st.integers(0, 2**31), st.lists(st.sampled_from(STATES), max_size=3000), st.booleans())
def test_any_job_fits_into_80_columns_and_shows_its_failures(
    first: int, states: list[str], ascii_only: bool
):
    frames = {first + index: state for index, state in enumerate(states)}
    text = str(frame_map(frames, ascii_only=ascii_only))

    assert max(map(len, text.split("\n"))) <= 80
    assert len(text.split("\n")) <= 9
    assert ("failed" in states) == (("x " if ascii_only else "✗") in text)
    assert text.isascii() or not ascii_only
