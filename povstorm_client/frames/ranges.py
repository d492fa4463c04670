"""Frame numbers as people write them: ``1-5, 9``. Used in messages, plans and reports."""

from __future__ import annotations

from collections.abc import Iterable

from povstorm_client.errors import InputError

# Eleven hours of film at 24 frames a second. Each frame is an object, a line of the manifest and a
# task run: beyond this a slip of the finger is likelier than a film.
MAX_FRAMES = 1_000_000

# A message stays readable; who needs all numbers finds them in the statistics.
_MOST_RANGES = 20


def check_frame_count(count: int) -> None:
    """Raise InputError for more frames than a job may have."""
    if count > MAX_FRAMES:
        raise InputError(
            f"{count:,} frames are more than the {MAX_FRAMES:,} that a job may have: choose fewer "
            "with --frames FIRST-LAST, +SF and +EF, or make a job of each part"
        )


def frame_ranges(frames: Iterable[int]) -> str:
    """Compact, ascending text for frame numbers; long lists end in ``… (N in all)``."""
    ranges = first_and_last(frames)
    words = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    if len(words) > _MOST_RANGES:
        count = sum(last - first + 1 for first, last in ranges)
        return f"{', '.join(words[:_MOST_RANGES])} … ({count} in all)"
    return ", ".join(words)


def first_and_last(frames: Iterable[int]) -> list[tuple[int, int]]:
    """The runs of consecutive numbers, each as its first and last; ascending."""
    ranges: list[tuple[int, int]] = []
    for frame in sorted(set(frames)):
        if ranges and frame == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], frame)
        else:
            ranges.append((frame, frame))
    return ranges
