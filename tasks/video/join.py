"""Segments joined into a video where they are stored, without decoding; encode.py calls it.

An MP4 or MOV needs only an index in front of the segments' data, so a bucket joins it by itself.
Matroska and WebM stream through one ffmpeg. Neither is ever in the flow's memory or on its disk.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from povstorm_client.errors import VideoError
from povstorm_client.storage import layout
from render_image.video import ffmpeg_process
from render_image.video.ffmpeg_process import Cancellation
from render_image.video.frame_counter import FrameCounter
from render_image.video.gif_counter import GifCounter
from render_image.video.mp4_index import file_head
from render_image.video.probe import CountedVideo, read_stream
from render_image.video.segments import Encoding, check_count
from render_image.video.stored_segments import SegmentStore, StoredSegment
from render_image.video.video_formats import has_index, join_command
from tasks.stored.last_writes import store_last
from tasks.video.matroska_head import MatroskaStream

_MICROSECONDS = 10**6
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class VideoInfo:
    """A stored video: its frames, size in pixels, duration in seconds, and bytes.

    fps is what was asked for; a GIF keeps it on average, in delays of whole hundredths of a second.
    """

    frames: int
    width: int
    height: int
    fps: Fraction
    codec: str
    seconds: float
    bytes: int

    @classmethod
    def of(cls, counted: CountedVideo, *, fps: Fraction, seconds: float, size: int) -> VideoInfo:
        """A video of which ffprobe says so, with what it does not say; size: its bytes."""
        return cls(
            frames=counted.frames,
            width=counted.width,
            height=counted.height,
            fps=fps,
            codec=counted.codec,
            seconds=seconds,
            bytes=size,
        )


def join_segments(
    segments: Sequence[StoredSegment],
    store: SegmentStore,
    key: str,
    encoding: Encoding,
    *,
    cancelled: Cancellation,
) -> VideoInfo:
    """Join segments, in this order, into the object ``key``; its frames are counted.

    Raises VideoError if ffmpeg fails, for segments that do not go together, or if the video has
    another number of frames than they have; StorageError.
    """
    if has_index(encoding.target):
        return _under_one_index(segments, store, key, encoding, cancelled)
    return _through_ffmpeg(segments, store, key, encoding, cancelled)


def _under_one_index(
    segments: Sequence[StoredSegment],
    store: SegmentStore,
    key: str,
    encoding: Encoding,
    cancelled: Cancellation,
) -> VideoInfo:
    tables = [segment.table for segment in segments if segment.table is not None]
    head = file_head(tables, encoding.fps, encoding.target.suffix.lower())
    data_bytes = sum(part.size for segment in segments for part in segment.parts)
    info = _probed(head, len(head) + data_bytes, encoding, cancelled)
    check_count(info.frames, sum(segment.frames for segment in segments), encoding.target)
    head_key = layout.segment_part(store.prefix, _new_name("head"), 0)
    store_last(lambda: store.storage.write(head_key, head))
    parts = [head_key, *(part.key for segment in segments for part in segment.parts)]
    store_last(lambda: store.storage.join(key, parts))
    return info


def _probed(head: bytes, size: int, encoding: Encoding, cancelled: Cancellation) -> VideoInfo:
    """What ffprobe reads in a video's index: no frame of it needs to be there."""
    lines: list[str] = []
    with tempfile.NamedTemporaryFile(suffix=encoding.target.suffix.lower()) as file:
        file.write(head)
        file.flush()
        # A hole, which takes no room.
        os.truncate(file.name, size)
        ffmpeg_process.run(
            [
                *(encoding.ffprobe, "-v", "quiet", "-select_streams", "v:0", "-show_streams"),
                *("-of", "json", file.name),
            ],
            on_line=lines.append,
            cancelled=cancelled,
        )
    return read_index("\n".join(lines), encoding.fps, size)


def read_index(text: str, fps: Fraction, size: int) -> VideoInfo:
    """Ffprobe's JSON about a video of so many bytes; VideoError for what it should not say."""

    def read(stream: dict[str, Any]) -> VideoInfo:
        seconds = float(stream["duration"])
        if not math.isfinite(seconds):
            raise ValueError(f"a duration of {seconds}")
        counted = CountedVideo.of(stream, "nb_frames")
        return VideoInfo.of(counted, fps=fps, seconds=seconds, size=size)

    return read_stream(text, read)


def _through_ffmpeg(
    segments: Sequence[StoredSegment],
    store: SegmentStore,
    key: str,
    encoding: Encoding,
    cancelled: Cancellation,
) -> VideoInfo:
    frames = sum(segment.frames for segment in segments)
    starts = itertools.accumulate((segment.frames for segment in segments), initial=0)
    stream = MatroskaStream([round(start * 1000 / encoding.fps) for start in starts])
    writer = store.writer(_new_name("body"))
    counter = FrameCounter(encoding.ffprobe, cancelled, packets=True)

    def take(piece: bytes) -> None:
        counter.add(piece)
        for data in stream.feed(piece):
            writer.add(data)

    with tempfile.TemporaryDirectory(prefix="povstorm-join-") as name, counter:
        folder = Path(name)
        lists = folder / "segments.ffconcat"
        lists.write_text("\n".join(_listed(segments, encoding.fps)) + "\n", "utf-8")
        with _given(segments, store, folder):
            ffmpeg_process.run(
                join_command(
                    lists.name, encoding.target, fps=encoding.fps, program=encoding.ffmpeg
                ),
                on_data=take,
                cancelled=cancelled,
                folder=folder,
            )
        counted = counter.end()
    check_count(counted.frames, frames, encoding.target)
    head = stream.head(float(frames * 1000 / encoding.fps))
    head_key = layout.segment_part(store.prefix, _new_name("head"), 0)
    parts = writer.end()
    store_last(lambda: store.storage.write(head_key, head))
    store_last(lambda: store.storage.join(key, [head_key, *(part.key for part in parts)]))
    return VideoInfo.of(
        counted,
        fps=encoding.fps,
        seconds=float(frames / encoding.fps),
        size=len(head) + sum(part.size for part in parts),
    )


def _new_name(what: str) -> str:
    """A name among the segments, which no other run of the job has."""
    return f"{what}-{secrets.token_hex(8)}"


def _listed(segments: Sequence[StoredSegment], fps: Fraction) -> Iterator[str]:
    yield "ffconcat version 1.0"
    frames = 0
    for number, segment in enumerate(segments):
        begin = _microseconds(frames, fps)
        frames += segment.frames
        seconds = Fraction(_microseconds(frames, fps) - begin, _MICROSECONDS)
        # Told, so that rounding does not add up: what the file says is rounded too.
        yield f"file {_pipe(number)}"
        yield f"duration {float(seconds):.6f}"


def _pipe(number: int) -> str:
    return f"segment-{number:06d}"


@contextmanager
def _given(segments: Sequence[StoredSegment], store: SegmentStore, folder: Path) -> Iterator[None]:
    """Each segment as a named pipe in the folder, of which ffmpeg reads one after another."""
    for number in range(len(segments)):
        os.mkfifo(folder / _pipe(number))
    ended = threading.Event()
    errors: list[Exception] = []

    def give() -> None:
        try:
            for number, segment in enumerate(segments):
                _feed(folder / _pipe(number), store.read(segment), ended)
        except Exception as error:
            errors.append(error)
            # Whoever waits for more of this pipe, or the next, meets its end.
            ended.set()

    feeding = threading.Thread(target=give, name="povstorm-join")
    feeding.start()
    try:
        yield
    except VideoError:
        ended.set()
        feeding.join()
        # What ffmpeg lacked is the reason.
        if errors:
            raise errors[0] from None
        raise
    finally:
        ended.set()
        feeding.join()
    if errors:
        raise errors[0]


def _feed(pipe: Path, data: Iterator[bytes], ended: threading.Event) -> None:
    """Write data into a named pipe when somebody reads it; nothing if that ends before."""
    while True:
        try:
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        if ended.is_set():
            return
        time.sleep(_POLL_SECONDS)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        for piece in data:
            left = memoryview(piece)
            try:
                while left:
                    left = left[file.write(left) or 0 :]
            except BrokenPipeError:
                # Its reader has enough of it, or has ended: its exit status will say why.
                return


def _microseconds(frames: int, fps: Fraction) -> int:
    """When the frame after so many begins; microseconds are what ffmpeg adds segments up in."""
    return round(frames * _MICROSECONDS / fps)


def one_pass(
    commands: Sequence[list[str]],
    contents: Callable[[], Iterator[bytes]],
    store: SegmentStore,
    key: str,
    encoding: Encoding,
    *,
    folder: Path,
    cancelled: Cancellation,
) -> VideoInfo:
    """Run the commands one after another, each on all contents; the last one's output is the video.

    folder: what is current to them. Raises VideoError if one fails, StorageError.
    """
    *before, last = commands
    for command in before:
        ffmpeg_process.run(command, contents=contents(), cancelled=cancelled, folder=folder)
    writer = store.writer(_new_name("body"))
    counter = GifCounter()

    def take(piece: bytes) -> None:
        counter.add(piece)
        writer.add(piece)

    ffmpeg_process.run(last, contents=contents(), on_data=take, cancelled=cancelled, folder=folder)
    counted = counter.end()
    parts = writer.end()
    store_last(lambda: store.storage.join(key, [part.key for part in parts]))
    return VideoInfo.of(
        counted,
        fps=encoding.fps,
        seconds=float(counted.frames / encoding.fps),
        size=sum(part.size for part in parts),
    )
