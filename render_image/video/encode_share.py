"""The segments of a container's share, encoded one after another; its entrypoint calls it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from povstorm_client.cloud_run.given_segments import look_for
from povstorm_client.cloud_run.wave_share import SegmentWork
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from render_image.video.segments import Encoding, FrameImage, Segment, StoredImage, encode_segment
from render_image.video.stored_segments import SegmentStore

# Between looks for the next segment: each is a call to the storage.
LOOK_SECONDS = 1.0


def given_segments(
    storage: Storage, wave: str, task: int, patience: float, stopped: threading.Event
) -> Iterator[SegmentWork]:
    """The segments that a task is given while it runs, each as soon as it is there.

    They end when it is told that nothing more will come, when it has waited for so many seconds in
    all, which are what its cost has room for, and when ``stopped`` is set. StorageError, or
    RecordError for what is not readable.
    """
    for number in itertools.count():
        began = time.monotonic()
        while (gift := look_for(storage, wave, task, number)) == "not yet":
            if time.monotonic() - began >= patience or stopped.wait(LOOK_SECONDS):
                return
        patience -= time.monotonic() - began
        if gift.segment is None:
            return
        yield gift.segment


def encode_share(
    segments: Iterable[SegmentWork], storage: Storage, job_id: str, stopped: threading.Event
) -> Iterator[Segment | Exception]:
    """Encode and store segments; gives each, or why it could not be made: the others go on.

    What another container of the task has stored of them is taken. Setting ``stopped`` ends it.
    """
    store = SegmentStore(storage, layout.segments(job_id))
    for work in segments:
        try:
            encoding = Encoding.of(
                Path(f"video.{work.ending}"),
                Fraction(work.fps),
                f"`povstorm retry {job_id}` renders it again",
                work.options,
            )
            images = [
                FrameImage(image.frame, StoredImage(storage, image.key), image.crc32c)
                for image in work.images
            ]
            yield encode_segment(
                images, store, encoding, has_alpha=work.has_alpha, cancelled=stopped
            )
        except Exception as error:
            yield error
