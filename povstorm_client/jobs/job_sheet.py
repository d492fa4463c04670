"""A contact sheet of what a job has rendered so far; notebooks show it, notifications carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from povstorm_client.errors import PovstormError
from povstorm_client.frames.developing import developed
from povstorm_client.frames.spread import spread
from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage

_MOST_IMAGES = 24
# Decoded for a sheet at most, so that it does not take longer than a few seconds.
_MOST_PIXELS = 100_000_000
_THUMBNAIL = 160
_COLUMNS = 6
_COLUMN_PIXELS = 120


@dataclass(frozen=True)
class JobSheet:
    """frames: whose images are on it, ascending; none, and no picture, if none can be shown."""

    frames: tuple[int, ...] = ()
    jpeg: bytes = b""


def job_sheet(
    storage: Storage, job_id: str, all_units: Sequence[WorkUnit], tone: ToneMapping
) -> JobSheet | None:
    """Of images evenly spread over the job, whose frames these are; None while there are none."""
    from PIL.Image import DecompressionBombError

    from povstorm_client.jobs.thumbnails import contact_sheet, encoded, small_image

    prefix = layout.output(job_id)
    there = {stored.key.removeprefix(f"{prefix}/") for stored in storage.list(prefix)}
    units = [unit for unit in all_units if unit.image_name in there]
    if not units:
        return None
    settings = units[0].settings
    most = max(2, min(_MOST_IMAGES, _MOST_PIXELS // (settings.width * settings.height)))
    chosen = spread(units, most)

    def thumbnail(name: str) -> bytes:
        try:
            shown = developed(storage.read(f"{prefix}/{name}"), tone)
            return encoded(small_image(shown, _THUMBNAIL), _THUMBNAIL, 80)
        except (PovstormError, OSError, ValueError, SyntaxError, DecompressionBombError):
            return b""  # damaged, or deleted in this moment

    made = list(in_parallel(thumbnail, [unit.image_name for unit in chosen]))
    images = [image for image in made if image]
    if not images:
        return JobSheet()
    sheet = contact_sheet(images, columns=_COLUMNS, wide=_COLUMN_PIXELS)
    frames = tuple(unit.frame for unit, image in zip(chosen, made, strict=True) if image)
    return JobSheet(frames, sheet)
