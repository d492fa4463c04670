"""Small images for the report: within their budget, whatever the images are."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from povstorm_client.errors import StorageError
from povstorm_client.jobs import thumbnails
from povstorm_client.jobs.thumbnails import contact_sheet
from tasks.report import previews as making
from tasks.report.facts import FrameFacts
from tasks.report.previews import make_previews
from tests.synthetic_job import picture


def frames(count: int) -> list[FrameFacts]:
    return [
        FrameFacts(number, 0.0, 0.0, "rendered", image=f"frame_{number}.png")
        for number in range(1, count + 1)
    ]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "WEBP"
    return image.convert("RGB")


def test_few_images_are_large_and_many_are_small_but_never_over_the_budget():
    pictures = [picture(frame, 640, 360) for frame in range(10)]

    def read(frame: FrameFacts) -> bytes:
        return pictures[frame.frame % 10]

    few = make_previews(frames(6), read, budget=200_000)
    many = make_previews(frames(60), read, budget=200_000)
    assert (len(few.images), len(many.images)) == (6, 60)
    assert opened(few.images[1]).width > opened(many.images[1]).width >= 64
    assert sum(map(len, few.images.values())) <= 200_000
    assert sum(map(len, many.images.values())) <= 200_000


def test_where_nothing_helps_every_second_is_left_out():
    noisy = png(Image.effect_noise((640, 480), 120))
    made = make_previews(frames(40), lambda _: noisy, budget=4000)
    assert 1 <= len(made.images) < 40
    assert sum(map(len, made.images.values())) <= 4000


def test_of_many_frames_some_have_a_preview_and_those_asked_for_do(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(making, "_MOST", 5)
    monkeypatch.setattr(making, "_FEWEST", 5)
    small = png(Image.new("RGB", (32, 24), "red"))
    made = make_previews(frames(100), lambda _: small, wanted=[7, 1000])
    assert list(made.images) == [1, 7, 26, 51, 75, 100]


def test_an_image_that_is_gone_or_broken_is_noted_and_the_others_are_there():
    small = png(Image.new("RGB", (32, 24), "red"))

    def read(frame: FrameFacts) -> bytes:
        if frame.frame == 2:
            raise StorageError("it is gone")
        return small[:40] if frame.frame == 3 else small

    made = make_previews(frames(4), read)
    assert list(made.images) == [1, 4]
    assert made.unreadable[2] == "it is gone"
    assert set(made.unreadable) == {2, 3}


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(thumbnails, "_LARGEST_PIXELS", 1000)
    made = make_previews(frames(1), lambda _: png(Image.new("L", (100, 100))))
    assert "100x100 pixels are too many" in made.unreadable[1]


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (Image.new("I;16", (32, 24), 32_768), (128, 128, 128)),
        (Image.new("RGBA", (32, 24), (255, 0, 0, 128)), (128, 0, 0)),
        (Image.new("LA", (32, 24), (255, 0)), (0, 0, 0)),
        (Image.new("L", (32, 24), 200), (200, 200, 200)),
    ],
    ids=["16 bits of grey", "half transparent", "transparent", "grey"],
)
def test_all_kinds_of_png_look_as_in_the_video(image: Image.Image, colour: tuple[int, ...]):
    made = make_previews(frames(1), lambda _: png(image))
    shown = opened(made.images[1]).getpixel((16, 12))
    assert shown == pytest.approx(colour, abs=6)


def test_the_contact_sheet_is_one_small_jpeg():
    images = [picture(frame, 320, 240) for frame in range(8)]
    sheet = Image.open(io.BytesIO(contact_sheet(images)))
    assert sheet.format == "JPEG"
    assert sheet.size == (6 * 124 - 4, 2 * 94 - 4)
    assert Image.open(io.BytesIO(contact_sheet(images[:1]))).size == (120, 90)


def test_no_images_make_no_previews():
    assert make_previews([], lambda _: b"").images == {}
