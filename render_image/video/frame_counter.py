"""FrameCounter: ffprobe counts a video's frames as it streams by; encoding and joining feed it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Empty, Full, Queue

from render_image.video import ffmpeg_process
from render_image.video.ffmpeg_process import Cancellation
from render_image.video.probe import CountedVideo, read_stream

# Pieces that wait for ffprobe; one is 64 KiB at most.
_WAITING_PIECES = 16
_POLL_SECONDS = 0.1


class FrameCounter:
    """Counts the frames of what it is given, piece by piece, during a block.

    program: ffprobe. packets: by packets, which costs almost nothing and is as good where each is
    known to be one frame; otherwise by decoding them.
    """

    def __init__(
        self,
        program: str,
        cancelled: Cancellation,
        *,
        packets: bool = False,
        low_priority: bool = False,
    ) -> None:
        self._count = "packets" if packets else "frames"
        self._command = [
            *(program, "-v", "error", "-threads", "1", f"-count_{self._count}"),
            *("-select_streams", "v:0", "-show_streams", "-of", "json", "pipe:0"),
        ]
        self._cancelled = cancelled
        self._low_priority = low_priority
        self._pieces: Queue[bytes] = Queue(_WAITING_PIECES)
        self._left = threading.Event()
        self._lines: list[str] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="povstorm-ffprobe")

    def __enter__(self) -> FrameCounter:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._left.set()
        self._thread.join()

    def is_set(self) -> bool:
        """Whether counting is to end: it is its process's cancellation."""
        return self._left.is_set() or self._cancelled.is_set()

    def add(self, piece: bytes) -> None:
        """Give it the next piece; blocks while it has many. What it does with it, end tells."""
        while self._thread.is_alive():
            try:
                self._pieces.put(piece, timeout=_POLL_SECONDS)
            except Full:
                continue
            return

    def end(self) -> CountedVideo:
        """What it has counted, when it has all; VideoError if ffprobe fails, or says nothing."""
        self.add(b"")
        self._thread.join()
        if self._error is not None:
            raise self._error
        return read_count("\n".join(self._lines), f"nb_read_{self._count}")

    def _run(self) -> None:
        try:
            ffmpeg_process.run(
                self._command,
                contents=self._given(),
                on_line=self._lines.append,
                cancelled=self,
                low_priority=self._low_priority,
            )
        except Exception as error:
            self._error = error

    def _given(self) -> Iterator[bytes]:
        while not self.is_set():
            try:
                piece = self._pieces.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if not piece:
                return
            yield piece


def read_count(text: str, count: str) -> CountedVideo:
    """Ffprobe's JSON, its frames in the field ``count``; VideoError for what it should not say."""
    return read_stream(text, lambda stream: CountedVideo.of(stream, count))
