"""PreviewsAhead: makes the report's previews while frames are rendered, here or on Cloud Run.

The flow tells it of each frame that is final; make_report makes what is not ready. Towards the end
it imports what makes the report and shows the statistics.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

from povstorm_client.errors import RecordError
from povstorm_client.frames.developing import developed
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_outputs import output_key
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.programs.priority import lower_thread
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.protocol import Storage

if TYPE_CHECKING:
    from PIL import Image

    from tasks.report.previews import ReadyPreviews

# The priority of the thread: a tenth of what a process gets that computes beside it.
_NICENESS = 10
# With so few frames to go a core may be idle soon.
_LAST_FRAMES = 4
# What a run's end imports otherwise, while somebody waits: the report's page, statistics as words.
_AT_THE_END = ("tasks.report.build", "rich.console", "rich.table")
# From so many images the size of all is to be told. Where it is not, as each is damaged or cannot
# be read, make_report looks at a few that lie far apart, and says why.
_MOST_TRIED = 32


class PreviewsAhead:
    """One preview after another, in a thread, until it is stopped.

    frames: the job's, ascending. read: gives the image of a rendered frame as a PNG. renders_here:
    whether the thread leaves the cores to POV-Ray. What fails is left to make_report, which says so
    in the page.
    """

    def __init__(
        self,
        frames: Sequence[int],
        read: Callable[[FrameResult], bytes],
        *,
        renders_here: bool = True,
    ) -> None:
        self._frames = frames
        self._renders_here = renders_here
        self._read = read
        self._final: SimpleQueue[FrameResult | None] = SimpleQueue()
        self._stopped = threading.Event()
        self._ready: ReadyPreviews | None = None
        self._tried = 0
        self._thread = threading.Thread(target=self._run, name="povstorm-previews")
        self._thread.start()

    def frame_is_final(self, result: FrameResult) -> None:
        """A frame is rendered, with this result, or has failed for good; by any thread."""
        self._final.put(result)

    def cancel(self) -> None:
        """Have its thread end; does not wait for that."""
        self._stopped.set()
        self._final.put(None)

    def stop(self) -> ReadyPreviews | None:
        """Make no further one; returns those that are made, None if their size is not known yet."""
        self.cancel()
        self._thread.join()
        return self._ready

    def _run(self) -> None:
        if self._renders_here:
            lower_thread(_NICENESS)
        left = len(self._frames)
        sample: dict[int, Image.Image] = {}
        while (result := self._final.get()) is not None and not self._stopped.is_set():
            left -= 1
            if result.state == "rendered":
                self._add(result, sample)
            if left <= _LAST_FRAMES:
                # Not at the top: no other part of a flow should wait for it.
                for module in _AT_THE_END:
                    importlib.import_module(module)

    def _add(self, result: FrameResult, sample: dict[int, Image.Image]) -> None:
        # Not at the top, as above: Pillow.
        from povstorm_client.jobs.thumbnails import small_image
        from tasks.report import previews

        if self._ready is not None and result.frame not in self._ready.wanted:
            return
        if self._ready is None and self._tried == _MOST_TRIED:
            return
        self._tried += 1
        try:
            image = small_image(self._read(result), previews.LARGEST_SIDE)
        except Exception:
            # Of a damaged image Pillow's readers raise anything; make_report meets it again.
            return
        if self._ready is None:
            sample[result.frame] = image
            self._ready = previews.begin_ready(self._frames, sample)
        else:
            self._ready.add(result.frame, image)


@asynccontextmanager
async def previews_ahead(storage: Storage, manifest: JobManifest) -> AsyncIterator[PreviewsAhead]:
    """Make the job's previews ahead during the block.

    Where Cloud Run renders, the flow's machine has little to do until the last frame, and someone
    waits after it: 500 images of 1080p take a core a quarter of a minute.
    """

    def read(result: FrameResult) -> bytes:
        data = storage.read(output_key(manifest.job_id, result.image))
        if result.image_crc32c not in ("", crc32c_of(data)):
            raise RecordError(f"{result.image} is not what was rendered")
        return developed(data, manifest.settings.tone_mapping)

    ahead = PreviewsAhead(manifest.frames, read, renders_here=manifest.cloud_run is None)
    try:
        yield ahead
    finally:
        # Even if nobody waits for the rest: this process ends no earlier than its thread.
        ahead.cancel()
        await asyncio.to_thread(ahead.stop)
