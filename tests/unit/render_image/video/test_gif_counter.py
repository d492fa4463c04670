"""A GIF's pictures are counted as it streams by, and what is no whole GIF is told."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from povstorm_client.errors import VideoError
from render_image.video.gif_counter import GifCounter
from render_image.video.probe import CountedVideo


def gif(pictures: int, width: int = 24, height: int = 16) -> bytes:
    """Noise, so that no picture equals the one before it, which Pillow would leave out."""
    made = [Image.effect_noise((width, height), 99).convert("P") for _ in range(pictures)]
    file = io.BytesIO()
    made[0].save(file, "GIF", save_all=True, append_images=made[1:], comment=b"a comment" * 60)
    return file.getvalue()


def counted(*pieces: bytes) -> CountedVideo:
    counter = GifCounter()
    for piece in pieces:
        counter.add(piece)
    return counter.end()


@given(st.integers(1, 6), st.integers(1, 40), st.integers(1, 40), st.integers(1, 5000))
def test_however_it_is_cut_all_pictures_are_counted(
    pictures: int, width: int, height: int, length: int
):
    data = gif(pictures, width, height)
    with Image.open(io.BytesIO(data)) as image:
        there = image.n_frames  # type: ignore[attr-defined]

    pieces = [data[at : at + length] for at in range(0, len(data), length)]

    assert counted(*pieces) == CountedVideo(there, width, height, "gif")


def test_the_counter_keeps_no_more_than_a_block():
    counter = GifCounter()
    data = gif(3, 200, 200)
    for at in range(0, len(data), 512):
        counter.add(data[at : at + 512])
        assert len(counter._read) < 1024
    assert counter.end().frames == 3


@given(st.integers(0, 20_000))
def test_a_gif_that_was_cut_off_is_told(length: int):
    data = gif(2)
    with pytest.raises(VideoError, match="not made a whole GIF"):
        counted(data[: min(length, len(data) - 1)])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"RIFF" + bytes(20), "begins with b'RIFF"),
        (gif(1)[:-1] + b"\x00", "a block of kind 0"),
        (gif(1) + b"\x00", "does not end with its last block"),
    ],
)
def test_what_is_no_gif_is_told(data: bytes, why: str):
    with pytest.raises(VideoError, match=re.escape(why)):
        counted(data)
