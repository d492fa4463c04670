"""What a video will not have of its frames: told before anything is rendered.

``povstorm render``, ``submit`` and Job.run say it. It is the format's nature, and no error: the
images keep all of it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from povstorm_client.frames.render_settings import RenderSettings

# The formats that keep transparency; render_image/video/video_formats.py encodes them so.
ALPHA_ENDINGS = ("mov", "webm")
_ALPHA = re.compile(r"([+-])UA|Output_Alpha=(on|off)", re.IGNORECASE)
_BITS = re.compile(r"\+FN(\d*)")
_GREY = "Grayscale_Output=on"


def announce_losses(video: str | None, settings: RenderSettings) -> None:
    """Print them as warnings; nothing where there is no video."""
    for loss in video_losses(video, settings) if video else ():
        print(f"povstorm: warning: {loss}", file=sys.stderr)


def video_losses(video: str, settings: RenderSettings) -> list[str]:
    """A line for each thing that frames of these settings lose in a video of that ending."""
    return list(_losses(video, settings))


def _losses(video: str, settings: RenderSettings) -> Iterator[str]:
    if has_alpha(settings) and video not in ALPHA_ENDINGS:
        others = " or ".join(ALPHA_ENDINGS)
        yield f"{video} has no transparency: the video's frames lie on black; {others} keep it"
    if _are_deep(settings) and video != "gif":
        kept = "10 (mov)" if video == "mov" else f"8 ({video}; mov has 10)"
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
    """Whether the images have transparency: the last option decides, as POV-Ray takes them."""
    given = [match for option in settings.options if (match := _ALPHA.fullmatch(option))]
    return bool(given) and (given[-1][1] or given[-1][2]).lower() in ("+", "on")


def _are_deep(settings: RenderSettings) -> bool:
    """Whether POV-Ray writes 16 bits a colour: for more than 8, and for all of its grey images."""
    bits = [match[1] for option in settings.options if (match := _BITS.fullmatch(option))]
    return _GREY in settings.options or bool(bits and int(bits[-1] or 8) > 8)
