"""16 bits a colour and transparency: POV-Ray's pixels are stored, and a video keeps its part."""

from __future__ import annotations

import asyncio
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.jobs.thumbnails import small_image
from povstorm_client.programs.tools import require_ffmpeg, require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from render_image.render_unit import render_unit
from tests.integration.video_files import encode_video

WIDTH, HEIGHT = 64, 48
# A gradient that 8 bits would make bands of, half of it behind glass, and nothing beside it.
SCENE = """#version 3.7; global_settings { assumed_gamma 1 }
camera { orthographic location -5*z right 4*x up 3*y look_at 0 }
box { <-1.5, -1.2, 0>, <1.5, 1.2, 0.1>
  pigment { gradient x scale 3 translate -1.5*x
    color_map { [0 rgbf <0.2, 0.21, 0.2, 0>] [0.5 rgbf <0.3, 0.31, 0.3, 0>]
                [0.5 rgbt <0.3, 0.31, 0.3, 0.6>] [1 rgbt <0.4, 0.41, 0.4, 0.6>] } }
  finish { ambient 1 diffuse 0 } }
"""
OPTIONS = ("+FN16", "+UA")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frame as povstorm stores it."""
    storage = FolderStorage(tmp_path_factory.mktemp("storage"))
    settings = RenderSettings(
        "own.pov", width=WIDTH, height=HEIGHT, final_frame=3, antialias=0.3, options=OPTIONS
    )
    unit = WorkUnit(settings, frame=2)
    unit.add_inline_resource("own.pov", SCENE)
    unit = unit.assigned(job_id="j", shared_prefix="", offload_prefix=layout.output("j"))
    result = asyncio.run(render_unit(unit, storage, require_povray(), sandbox="auto"))
    return storage.path(f"{layout.output('j')}/{result.image}")


def decoded(file: Path, *decoder: str) -> np.ndarray:
    """The first picture as height x width x RGBA, of 16 bits each."""
    raw = subprocess.run(
        [
            *(require_ffmpeg()[0], "-v", "error", *decoder, "-i", str(file), "-frames:v", "1"),
            *("-f", "rawvideo", "-pix_fmt", "rgba64le", "pipe:1"),
        ],
        capture_output=True,
        check=True,
    ).stdout
    return np.frombuffer(raw, "<u2").reshape(HEIGHT, WIDTH, 4).astype(int)


def video_of(image: Path, folder: Path, ending: str) -> Path:
    target = folder / f"video.{ending}"
    encode_video([(2, image)], target, fps=Fraction(24), expected_frames=[2])
    return target


def inside(pixels: np.ndarray) -> np.ndarray:
    """What lies on the box, away from its edges, where codecs mix colours of neighbours."""
    return pixels[12:36, 12:52]


def test_the_stored_image_has_povrays_own_pixels(image: Path, tmp_path: Path):
    (tmp_path / "own.pov").write_text(SCENE, "utf-8")
    subprocess.run(
        [
            *("povray", "+Iown.pov", "+Oown_.png", f"+W{WIDTH}", f"+H{HEIGHT}", "+KFF3", "+SF2"),
            *("+EF2", "+A0.3", "+WT1", "-D", *OPTIONS),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    own, stored = decoded(tmp_path / "own_2.png"), decoded(image)
    assert np.array_equal(own, stored)
    # More shades than 8 bits have between those two, and three kinds of transparency.
    assert len(np.unique(stored[24, 10:54, 0])) > 40
    assert stored[0, 0, 3] == 0
    assert stored[24, 20, 3] == 65535
    assert 20_000 < stored[24, 44, 3] < 60_000


def test_prores_keeps_its_transparency_and_more_than_8_bits(image: Path, tmp_path: Path):
    wanted, found = decoded(image), decoded(video_of(image, tmp_path, "mov"))
    assert np.abs(inside(found)[..., 3] - inside(wanted)[..., 3]).max() < 256
    assert found[0, 0, 3] == 0
    # Half a level of 8 bits is 128.
    assert np.abs(inside(found)[..., :3] - inside(wanted)[..., :3]).mean() < 128


def test_webm_keeps_its_transparency(image: Path, tmp_path: Path):
    wanted = decoded(image)
    found = decoded(video_of(image, tmp_path, "webm"), "-c:v", "libvpx-vp9")
    assert np.abs(inside(found)[..., 3] - inside(wanted)[..., 3]).max() < 6 * 257
    assert found[0, 0, 3] < 3 * 257


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_without_transparency_the_frames_lie_on_black(image: Path, tmp_path: Path, ending: str):
    wanted, found = decoded(image), decoded(video_of(image, tmp_path, ending))
    on_black = inside(wanted)[..., :3] * (inside(wanted)[..., 3:] / 65535)
    assert np.abs(inside(found)[..., :3] - on_black).mean() < 3 * 257
    assert found[0, 0, :3].max() < 3 * 257


def test_a_preview_lies_on_black_as_the_video_does(image: Path):
    wanted = decoded(image)
    small = np.asarray(small_image(image.read_bytes(), 720)).astype(int) * 257
    on_black = wanted[..., :3] * (wanted[..., 3:] / 65535)
    assert np.abs(small - on_black).max() <= 2 * 257
