"""SegmentWave: segments of a video that one Cloud Run execution encodes, spread over its tasks."""

from __future__ import annotations

import time
from dataclasses import dataclass

from povstorm_client.cloud_run.wave_share import (
    SegmentImage,
    SegmentWork,
    WaveShare,
    read_index,
    read_share,
)
from povstorm_client.errors import VideoError
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from render_image.image_check import inspect_image
from render_image.video.segments import Encoding, FrameImage, StoredImage, segment_name
from tasks.waves.wave import Wave


@dataclass(frozen=True, eq=False)
class WaitingSegment:
    """A segment to be encoded; attempt counts from 1, size is the index of a render job."""

    name: str
    images: tuple[FrameImage, ...]
    attempt: int = 1
    size: int = 0

    @classmethod
    def of(
        cls, images: tuple[FrameImage, ...], encoding: Encoding, size: int = 0
    ) -> WaitingSegment:
        """Of these images, none of which is known to have transparency: the first one decides."""
        return cls(segment_name(images, encoding, has_alpha=False), images, size=size)

    def pixels(self) -> int:
        """Of its first image, which is read for it; all of a video have as many.

        Raises VideoError for one that is gone or damaged, and StorageError.
        """
        first = self.images[0]
        try:
            facts = inspect_image(first.picture.read_bytes())
        except (OSError, ValueError) as error:
            raise VideoError(f"frame {first.frame} is not a whole image: {error}") from error
        return facts.width * facts.height

    def work(self, encoding: Encoding) -> SegmentWork:
        """What a container is told of it; VideoError for an image that is not in the storage."""
        images = tuple(
            SegmentImage(image.frame, _key(image), image.crc32c) for image in self.images
        )
        return SegmentWork(
            images,
            encoding.ending,
            str(encoding.fps),
            has_alpha=False,
            options=encoding.options,
        )


@dataclass(eq=False)
class SegmentWave(Wave[WaitingSegment]):
    """A wave of segments; stored: since when none waits, in seconds of the event loop's clock."""

    stored: float | None = None

    def task_of(self, name: str) -> int:
        """The index of the task that encodes the segment of this name."""
        return next(task for task, share in enumerate(self.shares) if name in share)

    def waiting_shares(self, encoding: Encoding) -> list[WaveShare]:
        """The share of each task, of what waits; VideoError for an image that is not stored."""
        return [
            WaveShare(
                (),
                None,
                segments=tuple(
                    self.waiting[name].work(encoding) for name in share if name in self.waiting
                ),
            )
            for share in self.shares
        ]


def read_left_wave(
    storage: Storage, job_id: str, encoding: Encoding, wave_id: str, size: int
) -> SegmentWave:
    """A wave that an earlier run of the job has stored; RecordError if it is not readable."""
    prefix = layout.wave(job_id, wave_id)
    shares = [
        [
            WaitingSegment.of(_stored_images(storage, work), encoding, size)
            for work in read_share(storage, prefix, task).segments
        ]
        for task in range(len(read_index(storage, prefix)))
    ]
    return SegmentWave(
        wave_id,
        prefix,
        [[segment.name for segment in share] for share in shares],
        size,
        submitted=time.time(),
        launched=0.0,
        waiting={segment.name: segment for share in shares for segment in share},
    )


def _stored_images(storage: Storage, work: SegmentWork) -> tuple[FrameImage, ...]:
    return tuple(
        FrameImage(image.frame, StoredImage(storage, image.key), image.crc32c)
        for image in work.images
    )


def _key(image: FrameImage) -> str:
    picture = image.picture
    if not isinstance(picture, StoredImage):
        raise VideoError(f"frame {image.frame} is not in the storage: render it again")
    return picture.key
