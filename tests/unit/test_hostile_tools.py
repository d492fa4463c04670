"""What ffprobe says, and images that are in storage, may be anything: each costs what it is for."""

from __future__ import annotations

import io
import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from povstorm_client.errors import VideoError
from povstorm_client.jobs.thumbnails import contact_sheet
from render_image.video.frame_counter import read_count
from tasks.report.facts import FrameFacts
from tasks.report.previews import make_previews
from tasks.video.join import read_index

STREAM = {"nb_read_frames": "3", "width": 32, "height": 24, "codec_name": "h264"}
INDEX = {**STREAM, "nb_frames": "3", "duration": "0.125"}
NUMBERS = st.sampled_from(["N/A", "", "9" * 5000, "nan", "inf", "1e999", 10**400, -1])
VALUES = st.one_of(st.none(), st.booleans(), st.floats(), st.text(), st.just([]), st.just({}))


def said(stream: object) -> str:
    return json.dumps({"streams": [stream]})


def test_what_ffprobe_says_is_read():
    counted = read_count(said(STREAM), "nb_read_frames")
    assert (counted.frames, counted.width, counted.height, counted.codec) == (3, 32, 24, "h264")
    info = read_index(said(INDEX), Fraction(24), 2000)
    assert (info.frames, info.width, info.height, info.codec) == (3, 32, 24, "h264")
    assert (info.seconds, info.bytes) == (0.125, 2000)


@given(
    st.sampled_from(["nb_read_frames", "width", "height", "nb_frames", "duration"]),
    st.one_of(NUMBERS, VALUES),
)
def test_any_value_in_any_field_is_a_number_or_a_video_error(field: str, value: object):
    text = said({**INDEX, field: value})
    for read in (
        lambda: read_count(text, "nb_read_frames").frames,
        lambda: read_index(text, Fraction(24), 9).seconds,
    ):
        try:
            number = read()
        except VideoError as error:
            assert "ffprobe" in str(error)
        else:
            assert isinstance(number, int) or math.isfinite(number)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", '{"streams": []}', '{"streams": 1}', "[" * 5000]
)
def test_no_answer_is_a_video_error(text: str):
    with pytest.raises(VideoError, match="does not tell what is in the video"):
        read_count(text, "nb_read_frames")
    with pytest.raises(VideoError, match="does not tell what is in the video"):
        read_index(text, Fraction(24), 9)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


WHOLE = png(Image.linear_gradient("L"))


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, len(WHOLE) - 1), st.binary(max_size=16))
def test_an_image_that_was_changed_anywhere_costs_its_preview_only(
    start: int, end: int, data: bytes
):
    changed = WHOLE[:start] + data + WHOLE[end:]
    frames = [FrameFacts(n, 0.0, 0.0, "rendered", image=f"frame_{n}.png") for n in (1, 2)]
    made = make_previews(frames, lambda frame: changed if frame.frame == 2 else WHOLE)
    assert 1 in made.images
    assert (2 in made.images) != (2 in made.unreadable)


def test_a_contact_sheet_of_towers_is_no_tower_itself():
    tower = io.BytesIO()
    Image.new("RGB", (1, 720)).save(tower, "WEBP")
    with Image.open(io.BytesIO(contact_sheet([tower.getvalue()] * 18))) as sheet:
        assert sheet.height < 2_000
