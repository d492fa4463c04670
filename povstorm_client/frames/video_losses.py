"""What a video will not have of its frames: told before anything is rendered.

``povstorm render``, ``submit`` and Job.run say it. It is the format's nature, and no error: the
images keep all of it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from povstorm_client.errors import InputError
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.frames.tone_mapping import ToneMapping
from povstorm_client.frames.video_options import (
    ALPHA_CODECS,
    CODECS_OF,
    DEEP_CODECS,
    VideoOptions,
)

# The formats that keep transparency, by their own codecs.
ALPHA_ENDINGS = tuple(
    ending
    for ending in sorted(CODECS_OF)
    if CODECS_OF[ending] and CODECS_OF[ending][0] in ALPHA_CODECS
)
_ALPHA = re.compile(r"([+-])UA|Output_Alpha=(on|off)", re.IGNORECASE)
_BITS = re.compile(r"\+FN(\d*)")
_GREY = "Grayscale_Output=on"


def announce_losses(job: JobSettings, settings: RenderSettings) -> None:
    """Print them as warnings, also what previews lose; of the video's nothing without one.

    Raises InputError where images are to be tone mapped that have nothing to map.
    """
    refuse_needless_tone(job.tone_mapping, settings)
    told = list(_losses_of_unbounded(job.tone_mapping, settings))
    told += video_losses(job.video, settings, job.video_options) if job.video else []
    for loss in told:
        print(f"povstorm: warning: {loss}", file=sys.stderr)


def refuse_needless_tone(tone: ToneMapping, settings: RenderSettings) -> None:
    """Raise InputError where images are to be tone mapped that have nothing to map."""
    if tone != ToneMapping() and not settings.is_unbounded:
        raise InputError(
            f"the images are PNGs, which are shown as they are, and not by {tone} (--tone-map, "
            "--exposure): leave that out, or render OpenEXR (+FE) or HDR (+FH)"
        )


def _losses_of_unbounded(tone: ToneMapping, settings: RenderSettings) -> Iterator[str]:
    if not settings.is_unbounded:
        return
    if settings.image_ending == ".hdr" and _wants_alpha(settings):
        yield "HDR images have no transparency; OpenEXR (+FE) keeps it"
    yield (
        f"the images hold light without bounds; video and previews show it by {tone} (--tone-map, "
        "--exposure)"
    )


def video_losses(
    video: str, settings: RenderSettings, options: VideoOptions | None = None
) -> list[str]:
    """A line for each thing that frames of these settings lose in a video of that ending.

    options: its codec; the format's own if None.
    """
    return list(_losses(video, settings, options or VideoOptions()))


def _losses(video: str, settings: RenderSettings, options: VideoOptions) -> Iterator[str]:
    codec = options.codec_in(video)
    # What a user has chosen, and can choose otherwise.
    name = video if options.codec is None else options.codec
    if has_alpha(settings) and codec not in ALPHA_CODECS:
        others = " or ".join(ALPHA_ENDINGS)
        own = " by their own codecs" if video in ALPHA_ENDINGS else ""
        yield f"{name} has no transparency: the video's frames lie on black; {others} keep it{own}"
    if _are_deep(settings) and video != "gif" and not settings.is_unbounded:
        kept = f"10 ({name})" if codec in DEEP_CODECS else f"8 ({name}; mov has 10)"
        yield f"the images have 16 bits a colour, their video {kept}"
    if video == "gif":
        yield "a gif has 256 colours in all; webm and mp4 have all of them"
    elif settings.width % 2 or settings.height % 2:
        width, height = (side + side % 2 for side in (settings.width, settings.height))
        yield (
            f"{settings.width}x{settings.height} is odd, and the video gets an edge: it will be "
            f"{width}x{height}"
        )


def has_alpha(settings: RenderSettings) -> bool:
    """Whether the images have transparency."""
    return _wants_alpha(settings) and settings.image_ending != ".hdr"


def _wants_alpha(settings: RenderSettings) -> bool:
    """Whether they are asked to: the last option decides, as POV-Ray takes them."""
    given = [match for option in settings.options if (match := _ALPHA.fullmatch(option))]
    return bool(given) and (given[-1][1] or given[-1][2]).lower() in ("+", "on")


def _are_deep(settings: RenderSettings) -> bool:
    """Whether POV-Ray writes 16 bits a colour: for more than 8, and for all of its grey images."""
    bits = [match[1] for option in settings.options if (match := _BITS.fullmatch(option))]
    return _GREY in settings.options or bool(bits and int(bits[-1] or 8) > 8)
