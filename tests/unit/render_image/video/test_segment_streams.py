"""What ffmpeg streams is taken apart and put together as the formats say, or refused in words."""

from __future__ import annotations

import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.errors import VideoError
from povstorm_client.storage.folder import FolderStorage
from render_image.video.fragments import FragmentReader, FrameTable, box, boxes, child
from render_image.video.mp4_index import file_head, is_joinable
from render_image.video.stored_segments import SegmentStore, StoredSegment
from tasks.video.matroska_head import MatroskaStream

TIMESCALE, FRAME = 12_288, 512


def moov(description: bytes = b"avc1") -> bytes:
    """The content of an index of no frame, as ffmpeg begins a stream of fragments with."""
    times = bytes(12) + struct.pack(">II", TIMESCALE, 0)
    tables = box(b"stbl", box(b"stsd", description), box(b"stts", bytes(8)))
    media = box(b"mdia", box(b"mdhd", times + bytes(4)), box(b"minf", box(b"vmhd"), tables))
    track = box(b"trak", box(b"tkhd", bytes(12) + struct.pack(">I", 1) + bytes(68)), media)
    extends = box(b"mvex", box(b"trex", bytes(12) + struct.pack(">III", FRAME, 0, 0)))
    return box(b"mvhd", times + bytes(80)) + track + extends


def stream(frames: list[bytes], shown: list[int]) -> bytes:
    """A stream of one fragment a frame; the first refers to no other."""
    made = box(b"ftyp", b"isom") + box(b"moov", moov())
    for number, (data, place) in enumerate(zip(frames, shown, strict=True)):
        flags = 0x010000 if number else 0
        later = (place - number + len(frames)) * FRAME
        run = struct.pack(">II", 0xE00, 1) + struct.pack(">IIi", len(data), flags, later)
        head = box(b"tfhd", struct.pack(">II", 0, 1))
        made += box(b"moof", box(b"traf", head, box(b"trun", run))) + box(b"mdat", data)
    return made + box(b"mfra", bytes(16))


def read(data: bytes, piece: int) -> tuple[bytes, FrameTable]:
    reader = FragmentReader()
    found = b"".join(
        part for at in range(0, len(data), piece) for part in reader.feed(data[at : at + piece])
    )
    return found, reader.table()


FRAMES = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8)


@given(FRAMES, st.data(), st.integers(1, 200))
def test_frames_come_out_as_they_went_in_whatever_the_pieces(
    frames: list[bytes], data: st.DataObject, piece: int
):
    shown = data.draw(st.permutations(range(len(frames))))
    found, table = read(stream(frames, shown), piece)

    assert found == b"".join(frames)
    assert table.sizes == tuple(map(len, frames))
    assert list(table.shown) == shown
    assert table.whole == (0,)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_other_stream_is_a_video_error(noise: bytes, cut: int):
    for data in (noise, stream([b"one", b"two"], [0, 1])[:cut] + noise):
        try:
            _, table = read(data, 64)
        except VideoError as error:
            assert "reinstall ffmpeg" in str(error)
        else:
            assert len(table.sizes) == len(table.shown)


def test_two_frames_at_one_moment_are_a_video_error():
    with pytest.raises(VideoError, match="shown one after another"):
        read(stream([b"one", b"two"], [0, 0]), 64)


def table(sizes: list[int], shown: list[int], description: bytes = b"avc1") -> FrameTable:
    return FrameTable(tuple(sizes), tuple(shown), (0,), moov(description))


def test_an_index_says_where_each_segments_data_begin_and_when_each_frame_is_shown():
    tables = [table([5, 6, 7, 8], [0, 3, 1, 2]), table([9], [0]), table([4, 3], [0, 1])]
    head = file_head(tables, Fraction(24), ".mp4")

    ((_, index),) = ((kind, content) for kind, content in boxes(head[:-8]) if kind == b"moov")
    stbl = child(index, b"trak", b"mdia", b"minf", b"stbl")
    assert child(stbl, b"stsz")[12:] == struct.pack(">7I", 5, 6, 7, 8, 9, 4, 3)
    assert child(stbl, b"stss")[8:] == struct.pack(">3I", 1, 5, 6)
    begins = struct.unpack(">3I", child(stbl, b"stco")[8:])
    assert begins == (len(head), len(head) + 26, len(head) + 35)
    assert head[-8:] == struct.pack(">I4s", 26 + 9 + 7 + 8, b"mdat")
    runs = struct.iter_unpack(">II", child(stbl, b"ctts")[8:])
    later = [place // FRAME for count, place in runs for _ in range(count)]
    starts = [0, 0, 0, 0, 4, 5, 5]
    places = [0, 3, 1, 2, 0, 0, 1]
    delay = max(
        n - start - place for n, (start, place) in enumerate(zip(starts, places, strict=True))
    )
    assert [n + each - delay for n, each in enumerate(later)] == [0, 3, 1, 2, 4, 5, 6]
    (_, _, media_time) = struct.unpack_from(">IIi", child(index, b"trak", b"edts", b"elst"), 4)
    assert media_time == delay * FRAME


def test_above_four_gigabytes_places_have_64_bits():
    head = file_head([table([2**31] * 3, [0, 1, 2])], Fraction(24), ".mov")

    assert head[-16:] == struct.pack(">I4sQ", 1, b"mdat", 3 * 2**31 + 16)
    assert b"co64" in head
    assert b"stco" not in head


def test_segments_of_two_encoders_are_not_put_under_one_index():
    tables = [table([1], [0]), table([1], [0], b"another")]

    assert not is_joinable(tables)
    with pytest.raises(VideoError, match="different versions of ffmpeg"):
        file_head(tables, Fraction(24), ".mp4")


@given(st.binary(max_size=200))
def test_any_other_matroska_is_a_video_error(noise: bytes):
    matroska = MatroskaStream([0])
    with pytest.raises(VideoError, match="reinstall ffmpeg"):
        list(matroska.feed(noise))
        matroska.head(1000.0)


def test_a_segment_is_there_only_as_its_record_says(storage: FolderStorage):
    store = SegmentStore(storage, "jobs/a/segments")
    writer = store.writer("s")
    writer.add(b"x" * (9 << 20))
    made = StoredSegment(
        "s", 4, 32, 24, "h264", False, False, "5.1", writer.end(), table([1] * 4, [0, 1, 2, 3])
    )
    store.commit(made)

    assert len(made.parts) == 2
    assert store.find("s") == made
    assert b"".join(store.read(made)) == b"x" * (9 << 20)
    assert store.find("another") is None
    storage.write(made.parts[1].key, b"short")
    assert store.find("s") is None
    storage.write("jobs/a/segments/t.json", b'{"frames": "many"}')
    assert store.find("t") is None
