"""What is taken out of an image before it is stored is its dates, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from render_image.image_check import drop_dates


def png(path: Path, **texts: str) -> bytes:
    """A PNG with text chunks, and with tIME if it has a comment, as POV-Ray 3.7 writes them."""
    info = PngImagePlugin.PngInfo()
    if "Comment" in texts:
        info.add(b"tIME", bytes([7, 234, 11, 24, 12, 52, 59]))
    for keyword, text in texts.items():
        info.add_text(keyword, text)
    Image.linear_gradient("L").save(path, pnginfo=info)
    return path.read_bytes()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return tmp_path / "frame_1.png"


def test_the_time_and_the_render_date_go_and_the_rest_stays(image: Path):
    without = png(image, Software="POV-Ray 3.7.0.10.unofficial")
    png(
        image,
        Software="POV-Ray 3.7.0.10.unofficial",
        Comment="Render Date: 2026-01-01 00:00:00Z\nPlatform: x86_64-pc-linux-gnu\n",
    )
    drop_dates(image)
    assert image.read_bytes() == without
    assert [path.name for path in image.parent.iterdir()] == [image.name]


def test_the_pixels_stay(image: Path):
    png(image, Comment="Render Date: 2026-01-01 00:00:00Z\n")
    drop_dates(image)
    with Image.open(image) as opened:
        assert opened.tobytes() == Image.linear_gradient("L").tobytes()
        assert opened.text == {}


def test_an_image_without_dates_is_left_alone(image: Path):
    content = png(image, Author="somebody")
    written = image.stat().st_ino
    drop_dates(image)
    assert image.read_bytes() == content
    assert image.stat().st_ino == written


def test_what_follows_the_end_of_an_image_is_not_looked_at(image: Path):
    png(image, Comment="Render Date: 2026-01-01 00:00:00Z\n")
    image.write_bytes(image.read_bytes() + b"\xff\xff\xff\xfftIM")
    drop_dates(image)
    assert b"Render Date" not in image.read_bytes()
    assert image.read_bytes().endswith(b"\xff\xff\xff\xfftIM")


def test_a_file_behind_a_link_is_not_touched(image: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere.png"
    content = png(elsewhere, Comment="Render Date: 2026-01-01 00:00:00Z\n")
    image.symlink_to(elsewhere)
    drop_dates(image)
    assert elsewhere.read_bytes() == content
    assert not image.is_symlink()
