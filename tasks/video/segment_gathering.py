"""SegmentGathering: which segments of a video have all their frames, for who encodes them ahead."""

from __future__ import annotations

from collections.abc import Sequence

from render_image.video.segments import FrameImage


class SegmentGathering:
    """Told of each frame that is final, by one thread at a time.

    plan: the frames of each segment that the video is meant to have, as plan_segments gives it.
    """

    def __init__(self, plan: Sequence[tuple[int, ...]]) -> None:
        self._plan = plan
        self._segment_of = {
            frame: number for number, segment in enumerate(self._plan) for frame in segment
        }
        self._waiting_for = [set(segment) for segment in self._plan]
        self._images: dict[int, FrameImage] = {}

    @property
    def segments(self) -> int:
        """How many the video has."""
        return len(self._plan)

    @property
    def incomplete(self) -> list[int]:
        """The frames of each segment that waits for one: how many, the missing ones included."""
        return [
            len(frames)
            for frames, missing in zip(self._plan, self._waiting_for, strict=True)
            if missing
        ]

    @property
    def missing(self) -> int:
        """How many frames are not final."""
        return sum(map(len, self._waiting_for))

    def frame_is_final(
        self, frame: int, image: FrameImage | None
    ) -> tuple[int, tuple[FrameImage, ...]] | None:
        """Take this for the frame's image, for good; None: it has none, since it failed.

        Returns the segment that has all its frames by this: its number, from 0, and its images.
        """
        number = self._segment_of.get(frame)
        if number is None or frame not in self._waiting_for[number]:
            return None
        if image is not None:
            self._images[frame] = image
        self._waiting_for[number].remove(frame)
        if self._waiting_for[number]:
            return None
        found = (self._images.pop(each, None) for each in self._plan[number])
        return number, tuple(each for each in found if each is not None)
