"""What is chosen of many frames, for a sample or a contact sheet, lies at even distances."""

from __future__ import annotations

import pytest

from povstorm_client.frames.spread import spread


@pytest.mark.parametrize(
    ("frames", "most", "expected"),
    [(10, 4, [1, 4, 7, 10]), (100, 5, [1, 26, 51, 75, 100]), (9, 2, [1, 9]), (9, 1, [1])],
)
def test_the_first_and_the_last_are_among_them(frames: int, most: int, expected: list[int]):
    assert spread(range(1, frames + 1), most) == expected


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_of_few_all_are_taken(frames: int):
    assert spread(range(frames), 3) == list(range(frames))
