"""Frame numbers as people write them: ``1-5, 9``. Used in messages, plans and reports."""

from __future__ import annotations

from collections.abc import Iterable

# A message stays readable; who needs all numbers finds them in the statistics.
_MOST_RANGES = 20


def frame_ranges(frames: Iterable[int]) -> str:
    """Compact, ascending text for frame numbers; long lists end in ``… (N in all)``."""
    ascending = sorted(set(frames))
    ranges: list[tuple[int, int]] = []
    for frame in ascending:
        if ranges and frame == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], frame)
        else:
            ranges.append((frame, frame))
    words = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    if len(words) > _MOST_RANGES:
        return f"{', '.join(words[:_MOST_RANGES])} … ({len(ascending)} in all)"
    return ", ".join(words)
