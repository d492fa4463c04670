"""Whatever a scene prints or leaves as its image is text and bytes, and costs its frame at most."""

from __future__ import annotations

import json
import math
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from povstorm_client.errors import RenderError
from render_image import povray_output
from render_image.frame_limits import Limits
from render_image.image_check import check_image, drop_dates, inspect_png
from render_image.povray_failure import raise_for_exit
from render_image.process import ProcessExit

PIECES = st.sampled_from(
    [
        *("  Trace Time: ", "Parse Time:", "Photon Time: No photons", "(1.2.3 seconds)"),
        *("(1.5 seconds)", f"({'9' * 500} seconds)", f"({'9' * 5000}.{'9' * 5000} seconds)"),
        *("(\u0661.\u0662 seconds)", "(. seconds)", "(1e400 seconds)", "(nan seconds)"),
        *("Pixels: ", "Rays:   ", "Samples: ", "7", "9" * 5000, "\u0663", "-1", "NaN", "Infinity"),
        *(
            "File 'a' line 1: Parse Error: ",
            "Possible Parse Error: ",
            "Cannot open user file ",
            "'",
        ),
        *("==== [Parsing...] ====", "==== [Rendering...] ====", "Rendered 1 of ", " of 5 pixels"),
        *(" ", "\n", "\r", "\t", "\0", "\x1b[2J", "\x9b", "\u2028", "\ufffd", "(", ")", "../", "/"),
    ]
)
LOGS = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=40).map("".join)
CODES = st.one_of(st.integers(-64, 255), st.sampled_from([0, 1, -6, -9, -11]))


@given(LOGS)
def test_any_output_gives_finite_numbers_and_text_that_can_be_stored_and_shown(log: str):
    numbers = [*povray_output.phase_seconds(log).values(), *povray_output.ray_counts(log).values()]
    assert all(math.isfinite(number) for number in numbers if number is not None)
    json.dumps(numbers, allow_nan=False)

    line = povray_output.failure_line(log)
    tail = povray_output.tail(log)
    assert len(line.splitlines()) <= 1
    assert len(line) < 1_100
    assert len(tail) < 9_000
    for text in (line, tail, povray_output.readable(log)):
        assert not set(text) & {"\0", "\x1b", "\x9b", "\r"}


@given(LOGS, CODES)
def test_any_end_of_povray_with_any_output_is_no_error_or_a_render_error(log: str, code: int):
    exited = ProcessExit(code, 0.1, 0.1, 1, timed_out=False)
    try:
        raise_for_exit(exited, log, None, Limits(memory_bytes=1), Path("/nonexistent"))
    except RenderError as error:
        assert str(error)
        assert code != 0
    else:
        assert code == 0


def test_numbers_that_povray_cannot_have_printed_are_none_of_its_numbers():
    log = (
        "  Trace Time:       x (1.2.3 seconds)\n"
        f"  Parse Time: 0 hours (1{'0' * 400} seconds)\n"
        "  Photon Time:      0 hours  0 minutes  2 seconds (2.500 seconds)\n"
        f"Rays: {'9' * 5000}\nPixels: 9   Samples: {'9' * 5000}\n"
    )
    seconds = povray_output.phase_seconds(log)
    assert (seconds["trace"], seconds["parse"], seconds["photon"]) == (0.0, 0.0, 2.5)
    assert povray_output.ray_counts(log) == {"pixels": 9, "rays": None, "samples": None}


@pytest.mark.parametrize(
    "log",
    [
        "x\n" + " y\n" * 2_000_000,
        "cannot open " * 400_000,
        "File '" + "' line 1" * 400_000,
        "Trace Time: " + "(1" * 2_000_000,
        "Parse Error: " + "a" * 4_000_000,
        "Samples: " * 500_000,
        "Cannot open user file " * 200_000 + " (write",
    ],
    ids=["wrapped", "cannot", "line", "time", "error", "samples", "user file"],
)
def test_a_log_made_to_be_read_slowly_is_read_all_the_same(log: str):
    """Each of them takes hours where reading takes the square of the log's length."""
    povray_output.phase_seconds(log)
    povray_output.ray_counts(log)
    exited = ProcessExit(1, 0.1, 0.1, 1, timed_out=False)
    with pytest.raises(RenderError) as error:
        raise_for_exit(exited, log, None, Limits(), Path("/nonexistent"))
    assert len(str(error.value)) < 2_000
    assert len(povray_output.tail(log)) < 9_000


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I4s", len(content), kind)
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


END = chunk(b"IEND", b"")
HEADER = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
DATA = chunk(b"IDAT", zlib.compress((b"\0" + bytes(6)) * 2))
KINDS = [b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"tEXt"]
KINDS += [b"zTXt", b"iTXt", b"pHYs", b"tIME", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"hIST", b"xxxx"]
CHUNKS = st.one_of(
    st.sampled_from([HEADER, DATA, END]),
    st.builds(chunk, st.sampled_from(KINDS), st.binary(max_size=40)),
    st.builds(chunk, st.sampled_from([b"zTXt", b"iCCP"]), st.just(b"a\0\0" + zlib.compress(b"1"))),
    st.binary(max_size=12),
)


@pytest.mark.filterwarnings("ignore:Invalid APNG")
@given(st.lists(CHUNKS, max_size=6), st.booleans())
def test_any_bytes_are_an_image_or_a_failed_frame(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], is_framed: bool
):
    image = tmp_path_factory.getbasetemp() / "frame_1.png"
    framed = [HEADER, *chunks, DATA, *chunks, END] if is_framed else chunks
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    try:
        check_image(image, 2, 2)
    except RenderError:
        pass
    else:
        drop_dates(image)
        assert inspect_png(image, decode=True).width == 2
    try:
        drop_dates(image)
    except ValueError as error:
        assert str(error)


def test_a_file_that_is_larger_than_its_image_can_be_is_not_even_read(tmp_path: Path):
    image = tmp_path / "frame_1.png"
    Image.new("RGB", (2, 2)).save(image)
    with image.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(RenderError, match="more than an image of 2x2 pixels can have"):
        check_image(image, 2, 2)


def test_an_image_of_noise_in_16_bits_with_alpha_is_not_too_large(tmp_path: Path):
    rows = b"".join(
        b"\0" + bytes((x * 7919 + y * 104729) % 251 for x in range(800)) for y in range(100)
    )
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100, 100, 16, 6, 0, 0, 0))
    image = tmp_path / "frame_1.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows, 0)) + END)
    check_image(image, 100, 100)


def test_an_image_of_more_pixels_than_pillow_opens_is_checked_too(tmp_path: Path):
    """Pillow refuses what is larger than 179 million pixels; POV-Ray does not."""
    image = tmp_path / "frame_1.png"
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 10_000, 1, 0, 0, 0, 0))
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(bytes(2_501)) for _ in range(10_000)) + packer.flush()
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + END)
    check_image(image, 20_000, 10_000)
