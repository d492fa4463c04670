"""What is chosen of many frames, for a sample or a contact sheet, lies at even distances."""

from __future__ import annotations

import pytest

from povstorm_client.frames.spread import bisected, spread


@pytest.mark.parametrize(
    ("frames", "most", "expected"),
    [(10, 4, [1, 4, 7, 10]), (100, 5, [1, 26, 51, 75, 100]), (9, 2, [1, 9]), (9, 1, [1])],
)
def test_the_first_and_the_last_are_among_them(frames: int, most: int, expected: list[int]):
    assert spread(range(1, frames + 1), most) == expected


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_of_few_all_are_taken(frames: int):
    assert spread(range(frames), 3) == list(range(frames))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 9, 24, 100])
def test_bisected_has_each_item_once(count: int):
    assert sorted(bisected(range(count))) == list(range(count))


def test_bisected_begins_with_the_ends_and_goes_on_in_the_middle_of_what_is_left():
    assert list(bisected("abcdefghi"))[:5] == ["a", "i", "e", "c", "g"]
