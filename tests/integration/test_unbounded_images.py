"""OpenEXR and Radiance HDR: POV-Ray's own light is stored, checked, and shown by a tone mapping."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from povstorm_client import InputError, RenderError, RenderSettings, ToolError, VideoError, WorkUnit
from povstorm_client.frames import developing
from povstorm_client.frames.developing import developed, light_of
from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.frames.video_options import VideoOptions
from povstorm_client.jobs.thumbnails import small_image
from povstorm_client.programs.tools import require_ffmpeg, require_povray
from povstorm_client.storage import layout
from povstorm_client.storage.checksum import crc32c
from povstorm_client.storage.folder import FolderStorage
from render_image.image_check import check_image, drop_dates, inspect_image
from render_image.render_unit import render_unit
from tests.integration.video_files import encode_video

WIDTH, HEIGHT = 32, 24
# Fields above each other: light of 0.25, 1, 4, and beyond what a half float holds; beside them a
# pane of grey glass before nothing, and nothing.
FIELDS = (0.25, 1.0, 4.0, 1000000.0)
SCENE = """#version 3.7; global_settings { assumed_gamma 1 }
camera { orthographic location <16, 12, -5> right 32*x up 24*y look_at <16, 12, 0> }
#macro Field(X, Y, W, H, L, T)
  box { <X, Y, 0>, <X + W, Y + H, 1>
    pigment { rgbt <L, L / 2, L, T> } finish { ambient 1 diffuse 0 } }
#end
Field(16, 0, 8, 24, 0.5, 0.5)
""" + "\n".join(f"Field(0, {6 * number}, 16, 6, {light}, 0)" for number, light in enumerate(FIELDS))
KINDS = {"+FE": ".exr", "+FH": ".hdr"}


def unit_of(*options: str, source: str = SCENE) -> WorkUnit:
    settings = RenderSettings("own.pov", width=WIDTH, height=HEIGHT, final_frame=3, options=options)
    unit = WorkUnit(settings, frame=2)
    unit.add_inline_resource("own.pov", source)
    return unit.assigned(job_id="j", shared_prefix="", offload_prefix=layout.output("j"))


def rendered(folder: Path, *options: str) -> Path:
    storage = FolderStorage(folder)
    unit = unit_of(*options)
    result = asyncio.run(render_unit(unit, storage, require_povray(), sandbox="auto"))
    assert result.image == unit.image_name
    return storage.path(f"{layout.output('j')}/{result.image}")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Frames as povstorm stores them, by their options."""
    made = ("+FE", "+FE +UA", "+FH", "+FN16", "+FN16 +UA")
    return {words: rendered(tmp_path_factory.mktemp("storage"), *words.split()) for words in made}


def decoded(data: bytes) -> np.ndarray:
    """A PNG's pixels as height x width x RGBA, of 16 bits each."""
    raw = subprocess.run(
        [
            *(require_ffmpeg()[0], "-v", "error", "-f", "image2pipe", "-vcodec", "png"),
            *("-i", "pipe:0", "-f", "rawvideo", "-pix_fmt", "rgba64le", "pipe:1"),
        ],
        input=data,
        capture_output=True,
        check=True,
    ).stdout
    return np.frombuffer(raw, "<u2").reshape(HEIGHT, WIDTH, 4).astype(int)


def fields(pixels: np.ndarray) -> list[int]:
    """Red of the middle of each field."""
    return [int(pixels[HEIGHT - 3 - 6 * n, 8, 0]) for n in range(len(FIELDS))]


@pytest.mark.parametrize("option", KINDS)
def test_the_stored_image_has_povrays_own_light(
    option: str, images: dict[str, Path], tmp_path: Path
):
    (tmp_path / "own.pov").write_text(SCENE, "utf-8")
    own = tmp_path / f"own_2{KINDS[option]}"
    subprocess.run(
        [
            *("povray", "+Iown.pov", f"+Oown_{own.suffix}", f"+W{WIDTH}", f"+H{HEIGHT}", "+KFF3"),
            *("+SF2", "+EF2", "+WT1", "-D", option),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    stored = images[option]
    assert stored.suffix == KINDS[option]
    assert light_of(stored.read_bytes()) == light_of(own.read_bytes())
    # Nothing but the date is gone.
    drop_dates(own)
    assert stored.read_bytes() == own.read_bytes()


@pytest.mark.parametrize("option", KINDS)
def test_the_same_frame_twice_is_the_same_file(
    option: str, images: dict[str, Path], tmp_path: Path
):
    assert crc32c(rendered(tmp_path, option)) == crc32c(images[option])


@pytest.mark.parametrize(("option", "png"), [("+FE", "+FN16"), ("+FH", "+FN16")])
def test_clipped_it_is_what_povray_writes_as_a_png(option: str, png: str, images: dict[str, Path]):
    wanted = decoded(images[png].read_bytes())
    shown = decoded(developed(images[option].read_bytes(), ToneMapping()))
    # A half float, and Radiance's mantissa, hold less than 16 bits.
    most = 40 if option == "+FE" else 320
    assert np.abs(shown - wanted).max() <= most
    assert fields(shown)[1:] == [65535, 65535, 65535]


def test_transparency_of_an_exr_is_that_of_povrays_png(images: dict[str, Path]):
    wanted = decoded(images["+FN16 +UA"].read_bytes())
    shown = decoded(developed(images["+FE +UA"].read_bytes(), ToneMapping()))
    assert {0, 65535} < set(wanted[..., 3].flat)
    assert np.abs(shown[..., 3] - wanted[..., 3]).max() <= 40
    visible = wanted[..., 3] > 0
    assert np.abs(shown - wanted)[visible].max() <= 80


@pytest.mark.parametrize("option", KINDS)
def test_curves_and_exposure_are_what_they_are_called(option: str, images: dict[str, Path]):
    data = images[option].read_bytes()

    def shown(tone_map: str, exposure: float = 0.0) -> list[float]:
        """The fields in linear light."""
        tone = ToneMapping(tone_map=tone_map, exposure=exposure)
        parts = np.array(fields(decoded(developed(data, tone)))) / 65535
        return list(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4))

    assert shown("clip") == pytest.approx([0.25, 1, 1, 1], abs=0.003)
    assert shown("clip", -2) == pytest.approx([0.0625, 0.25, 1, 1], abs=0.003)
    assert shown("clip", 1) == pytest.approx([0.5, 1, 1, 1], abs=0.005)
    assert shown("reinhard") == pytest.approx([0.2, 0.5, 0.8, 1], abs=0.005)
    dark, one, four, sun = shown("hable")
    assert 0 < dark < one < four < sun == 1.0


@pytest.mark.parametrize("option", KINDS)
def test_an_image_cut_off_anywhere_is_found(option: str, images: dict[str, Path]):
    data = images[option].read_bytes()
    assert inspect_image(data, decode=True).width == WIDTH
    for size in range(4, len(data)):
        with pytest.raises(ValueError, match=r"\w"):
            inspect_image(data[:size], decode=True)
    with pytest.raises(ValueError, match="behind its last"):
        inspect_image(data + b"\0", decode=True)


def test_a_changed_byte_of_an_exrs_pixels_is_found(images: dict[str, Path]):
    data = images["+FE"].read_bytes()
    light, unchanged = light_of(data), 0
    for at in range(len(data) - 200, len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x10
        try:
            inspect_image(bytes(changed), decode=True)
        except ValueError:
            continue
        # Of a compressed block some bits mean nothing.
        assert light_of(bytes(changed)) == light
        unchanged += 1
    assert unchanged < 5


@pytest.mark.parametrize("option", KINDS)
def test_one_error_says_what_is_wrong_with_an_image(
    option: str, images: dict[str, Path], tmp_path: Path
):
    image = tmp_path / images[option].name
    for content, words in (
        (images[option].read_bytes()[:-40], "not a whole image"),
        (b"", "not a whole image: it is no"),
        (images["+FN16"].read_bytes(), "not a whole image: it is no"),
    ):
        image.write_bytes(content)
        with pytest.raises(RenderError, match=words):
            check_image(image, WIDTH, HEIGHT)
    image.write_bytes(images[option].read_bytes())
    with pytest.raises(RenderError, match=r"is 32x24 pixels, not 33x24"):
        check_image(image, 33, 24)


def test_a_video_shows_them_by_its_tone_mapping_and_names_a_damaged_one(
    images: dict[str, Path], tmp_path: Path
):
    def video(name: str, tone: ToneMapping, image: Path) -> bytes:
        target = tmp_path / f"{name}.mov"
        options = VideoOptions(tone=tone)
        encode_video(
            [(1, image), (2, image)],
            target,
            fps=Fraction(24),
            options=options,
            expected_frames=[1, 2],
        )
        return target.read_bytes()

    clipped = video("clip", ToneMapping(), images["+FE +UA"])
    assert video("again", ToneMapping(), images["+FE +UA"]) == clipped
    assert video("other", ToneMapping(tone_map="reinhard"), images["+FE +UA"]) != clipped
    png = tmp_path / "shown.png"
    png.write_bytes(developed(images["+FE +UA"].read_bytes(), ToneMapping()))
    assert video("of-png", ToneMapping(), png) == clipped
    damaged = tmp_path / "frame_1.exr"
    damaged.write_bytes(images["+FE"].read_bytes()[:-10])
    with pytest.raises(VideoError, match=r"frame 1 is not a whole image \(frame_1.exr: scan lines"):
        video("damaged", ToneMapping(), damaged)


@pytest.mark.parametrize("option", KINDS)
def test_a_preview_is_of_what_is_shown(option: str, images: dict[str, Path]):
    shown = developed(images[option].read_bytes(), ToneMapping())
    assert small_image(shown, 720).size == (WIDTH, HEIGHT)
    assert developed(shown, ToneMapping(tone_map="hable")) == shown


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (33, 32)])
@pytest.mark.parametrize("option", KINDS)
def test_images_of_all_sizes_are_read(option: str, width: int, height: int, tmp_path: Path):
    """Radiance has no runs in short rows, OpenEXR a last block of fewer lines."""
    (tmp_path / "a.pov").write_text(SCENE, "utf-8")
    image = tmp_path / f"a{KINDS[option]}"
    subprocess.run(
        ["povray", "+Ia.pov", f"+O{image}", f"+W{width}", f"+H{height}", "-D", "+UA", option],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    check_image(image, width, height)
    drop_dates(image)
    check_image(image, width, height)
    facts = inspect_image(developed(image.read_bytes(), ToneMapping()), decode=True)
    assert facts == replace(inspect_image(image), has_alpha=option == "+FE")


@pytest.mark.parametrize(
    ("options", "ending"),
    [
        ((), ".png"),
        (("+FE",), ".exr"),
        (("+FN16", "+FE"), ".exr"),
        (("+FE", "+FN16"), ".png"),
        (("+FE", "+FH"), ".hdr"),
    ],
)
def test_the_last_type_that_is_asked_for_counts(options: tuple[str, ...], ending: str):
    settings = RenderSettings("a.pov", final_frame=12, options=options)
    assert settings.image_name(3) == f"frame_03{ending}"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"options": ("+FE", "Grayscale_Output=on")}, "in colour only"),
        ({"options": ("+FH",), "motion_blur": 4}, r"\+FH cannot be together with motion blur"),
        ({"options": ("+FE16",)}, r"'\+FE16' is not among"),
    ],
)
def test_what_povray_or_motion_blur_cannot_do_is_refused(settings: dict[str, object], words: str):
    with pytest.raises(InputError, match=words):
        RenderSettings("a.pov", final_frame=3, **settings)  # type: ignore[arg-type]


def test_an_ffmpeg_that_does_not_end_is_one_clear_error(
    images: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    endless = tmp_path / "ffmpeg"
    endless.write_text("#!/bin/sh\nexec sleep 600\n", "utf-8")
    endless.chmod(0o755)
    monkeypatch.setattr(developing, "require_ffmpeg", lambda: (str(endless), ""))
    monkeypatch.setattr(developing, "_DECODING_SECONDS", 0.1)

    with pytest.raises(ToolError, match=r"ffmpeg did not decode an image of 32x24 in 0\.1 s"):
        developed(images["+FE"].read_bytes(), ToneMapping())
