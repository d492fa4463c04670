"""SegmentWaves: a video's segments encoded by Cloud Run tasks as soon as their frames are there.

It is told of each frame that is final, as SegmentsAhead is where this machine renders. What Cloud
Run does not give in the end, encode_video does here; both give the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence

from povstorm_client.cloud_run.api import CloudRunApi
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.errors import PovstormError, VideoError
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from render_image.video.segments import Encoding, FrameImage
from render_image.video.stored_segments import SegmentStore
from tasks.video.cloud_run.rendering_rest import RenderingRest
from tasks.video.cloud_run.segment_dispatcher import (
    SegmentDispatcher,
    SegmentPace,
    tell_given_up,
)
from tasks.video.cloud_run.segment_queue import SegmentQueue
from tasks.video.encode import ReadySegments


class SegmentWaves:
    """One job's segments: a thread, with a loop of its own, that begins and follows their waves.

    Its methods may be called by any thread. plan: the frames of each segment that the video is
    meant to have, as plan_segments gives it; the others as SegmentDispatcher's.
    """

    def __init__(
        self,
        plan: Sequence[tuple[int, ...]],
        pixels: int,
        storage: Storage,
        job_id: str,
        fleet: CloudRunFleet,
        encoding: Encoding,
        api: Callable[[], CloudRunApi],
        logger: RunLogger,
        tell: Callable[[str], None],
        *,
        retries: int,
        pace: SegmentPace | None = None,
    ) -> None:
        self._log = logger
        self._pace = pace or SegmentPace()
        store = SegmentStore(storage, layout.segments(job_id))
        self._queue = SegmentQueue(plan, store, encoding)
        self._rest = RenderingRest()
        self._dispatcher = SegmentDispatcher(
            self._queue,
            self._rest,
            pixels,
            storage,
            job_id,
            fleet,
            encoding,
            api,
            logger,
            tell,
            retries=retries,
            pace=self._pace,
        )
        self._cancelled = False
        self._woken = asyncio.Event()
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        # In this context, as which its log is the caller's.
        self._work = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._run_loop, name="povstorm-segments")
        self._thread.start()

    def frame_is_final(self, frame: int, image: FrameImage | None) -> None:
        """Take this for the frame's image, for good; None: it has none, since it failed."""
        self._queue.frame_is_final(frame, image)

    def frame_took(self, seconds: float) -> None:
        """A frame was rendered in so many: of how long the others will take it tells something."""
        self._rest.frame_took(seconds, self._loop.time())

    def stop(self) -> ReadySegments:
        """No further frame is told of; returns the segments that are encoded, or will be."""
        ready = self._queue.stop()
        self._tell(self._woken.set)
        return ready

    def cancel(self) -> None:
        """Have it end, and what it has started; does not wait for that.

        Containers that have stored all are left to end by themselves, for some seconds.
        """
        if self._queue.is_done:
            self._tell(self._woken.set)
        elif not self._cancelled:
            self._cancelled = True
            self._tell(self._work.cancel)

    def close(self) -> None:
        """Cancel, and wait for it; what is encoded stays, for whoever makes the video."""
        self.cancel()
        self._thread.join()

    def _tell(self, call: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(call)

    def _run_loop(self) -> None:
        with self._runner:
            self._loop.run_until_complete(self._work)

    async def _run(self) -> None:
        queue, dispatcher = self._queue, self._dispatcher
        try:
            while not queue.is_stopped or queue.pending() or not dispatcher.is_idle:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.poll):
                        await self._woken.wait()
                self._woken.clear()
                await dispatcher.start_due()
                await dispatcher.look()
        except asyncio.CancelledError:
            await dispatcher.stop()
            queue.end(dispatcher.waiting(), VideoError("it was cancelled"))
        except Exception as error:
            if not isinstance(error, PovstormError):
                self._log.exception("the segments of the video are not encoded on Cloud Run")
            tell_given_up(queue.end(dispatcher.waiting(), error), error, self._log)
            # What was started costs money, and nobody waits for it; who encodes now need not wait.
            await dispatcher.stop()
