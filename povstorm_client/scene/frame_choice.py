"""Which frames to render: ``--frames 1-100x10``, and POV-Ray's Subset_Start/End_Frame."""

from __future__ import annotations

import re

from povstorm_client.errors import InputError
from povstorm_client.frames.ranges import check_frame_count

_PART = re.compile(r"(\d+)(?:-(\d+)(?:x(\d+))?)?")


def parse_frames(text: str, first: int, last: int) -> tuple[int, ...]:
    """Frame numbers, ascending, from ``1-120``, ``1-100x10`` (every tenth), ``7``, ``1,5,9-12``.

    Raises InputError for what is not of that form, is empty, is reversed, names a frame twice or
    one outside of the animation's ``first`` to ``last``, or are more than a job may have.
    """
    parts: list[range] = []
    for part in text.replace(" ", "").split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise InputError(
                f"frames {text!r} are not understood: write 1-120, 1-100x10 or 1,5,9-12"
            )
        start = int(match[1])
        end = int(match[2] or start)
        step = int(match[3] or 1)
        if end < start or step == 0:
            raise InputError(f"frames {part!r} are none: write first-last, first-lastxSTEP")
        if start < first or end > last:
            raise InputError(
                f"frames {part!r} are outside of the animation, which has {first} to {last}: "
                "extend it with +KFF, or choose others"
            )
        parts.append(range(start, end + 1, step))
    # Before a slip of the finger becomes billions of numbers.
    check_frame_count(sum(map(len, parts)))
    chosen = [frame for part in parts for frame in part]
    if len(set(chosen)) != len(chosen):
        raise InputError(f"frames {text!r} name a frame twice")
    return tuple(sorted(chosen))


def subset(
    first: int,
    last: int,
    start: float | None,
    end: float | None,
    *,
    cyclic: bool = False,
    step: int = 1,
) -> tuple[int, ...]:
    """The frames that Subset_Start_Frame, Subset_End_Frame and Frame_Step leave of an animation.

    Values below 1 (and above 0) are shares of the number of frames; POV-Ray 3.7.0.10 counts one
    more in a cyclic animation, and counts them from frame 0 whatever the first is (tried).
    Raises InputError if nothing, something outside of the animation, or more than a job may have
    is left.
    """
    total = last - first + 1 + cyclic
    begin = first if start is None else max(first, _subset_frame(total, start))
    finish = last if end is None else _subset_frame(total, end)
    if finish > last or finish < begin:
        raise InputError(
            f"the subset {begin} to {finish} is not within the animation's frames "
            f"{first} to {last}: correct Subset_Start_Frame and Subset_End_Frame"
        )
    chosen = range(begin, finish + 1, max(1, step))
    check_frame_count(len(chosen))
    return tuple(chosen)


def _subset_frame(total: int, value: float) -> int:
    return int(total * value) if 0 < value < 1 else int(value)
