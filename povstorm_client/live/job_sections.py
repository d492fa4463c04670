"""What a job's live page shows besides its frames' rows, as JSON; live_server.py has it sent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.forecast import Forecast
from povstorm_client.live.frame_row import Letter
from povstorm_client.live.job_feed import JobFeed, Outlook
from povstorm_client.quantities import age_words, amount, duration, usd

_HOSTS = 12
_ATTEMPTS = 12
_GROUPS = 12
_JUMPS = 12
_TEXT = 4000
_PHASES = {
    "submitted": "Starting",
    "staging": "Starting",
    "rendering": "Rendering",
    "stitching": "Making the video",
    "reporting": "Making the report",
    "completed": "Completed",
    "failed": "Failed",
    "cancelled": "Cancelled",
}


def job_sections(feed: JobFeed) -> dict[str, Any] | None:
    """The sections by name, as of the feed's last look; None before the first."""
    outlook = feed.outlook
    if outlook is None:
        return None
    state = outlook.state
    counts = outlook.counts
    return {
        "status": {
            "phase": _PHASES[state.phase] if state else "Not started",
            "tone": {"completed": "good", "failed": "bad", "cancelled": "bad"}.get(
                state.phase if state else "", ""
            ),
            "message": _message(outlook)[:_TEXT],
            "ended": state is not None and state.ended,
            "report": outlook.has_report,
            "counts": [counts.get(letter, 0) for letter in ("r", "c", "f", "w", "t")],
        },
        "tiles": list(_tiles(feed, outlook)),
        "failures": list(_failures(feed, outlook.failures)),
        "attempts": [
            {
                "frame": each.frame,
                "number": each.number,
                "host": each.host,
                "error": each.error[:_TEXT],
                "lost": each.lost,
                "when": time.strftime("%H:%M:%S", time.localtime(each.ended)),
            }
            for each in list(outlook.attempts)[: -_ATTEMPTS - 1 : -1]
        ],
        "attempts_in_all": len(outlook.attempts),
        "shares": [
            [each.host, amount(each.frames), f"{each.seconds / each.frames:.2f} s"]
            for each in outlook.hosts[:_HOSTS]
        ],
        "machines": len(outlook.hosts),
        "notes": [note[:_TEXT] for note in outlook.notes],
    }


def _message(outlook: Outlook) -> str:
    state = outlook.state
    if state is None:
        return "Nothing has begun to work on the job yet."
    if state.is_silent(outlook.now):
        age = age_words(outlook.now - state.updated)
        return (
            f"Nothing was heard of the run for {age}: if it does not go on, `povstorm retry` does."
        )
    return state.message


def _tiles(feed: JobFeed, outlook: Outlook) -> Iterator[tuple[str, str, str]]:
    """Label, value, note."""
    counts = outlook.counts
    done = counts.get("r", 0) + counts.get("c", 0)
    words: dict[Letter, str] = {
        "c": "from the cache",
        "w": "in work",
        "t": "to be tried again",
        "f": "failed",
    }
    notes = [f"{counts[letter]} {text}" for letter, text in words.items() if counts.get(letter)]
    yield "Frames", f"{done} of {len(feed.units)}", ", ".join(notes)
    state = outlook.state
    if state is not None and not state.ended:
        yield _left(outlook)
    seconds = [share.seconds for share in outlook.hosts]
    frames = sum(share.frames for share in outlook.hosts)
    if frames:
        cpu = f"{duration(outlook.cpu_seconds)} of CPU so far"
        yield "A frame", f"{sum(seconds) / frames:.2f} s", cpu
    if outlook.cost is not None:
        if state is not None and state.ended:
            yield "Cost", usd(outlook.cost.billed), "billed"
        else:
            yield "Cost so far", usd(outlook.cost.so_far), _whole_cost(outlook)


def _left(outlook: Outlook) -> tuple[str, str, str]:
    state, left = outlook.state, outlook.left
    if state is not None and state.is_silent(outlook.now):
        return "Left", "?", "nothing is heard of the run"
    if state is not None and state.phase == "rendering" and left is not None:
        end = time.strftime("%H:%M", time.localtime(outlook.now + left.seconds))
        return "Left", f"≈ {duration(left.seconds)}", f"{_between(left)}; until about {end}"
    if state is not None and state.phase in ("stitching", "reporting"):
        return "Left", "soon", "all frames are rendered"
    return "Left", "…", "known after the first frames"


def _between(left: Forecast) -> str:
    return f"between {duration(left.low)} and {duration(left.high)}"


def _whole_cost(outlook: Outlook) -> str:
    cost, left = outlook.cost, outlook.left
    if cost is None:
        return ""
    if left is None or left.seconds <= 0:
        return f"≈ {usd(cost.whole)} in all"
    rest = max(0.0, cost.whole - cost.so_far)
    low = cost.so_far + rest * left.low / left.seconds
    high = cost.so_far + rest * left.high / left.seconds
    return f"≈ {usd(cost.whole)} in all, between {usd(low)} and {usd(high)}"


def _failures(feed: JobFeed, failures: Sequence[FrameResult]) -> Iterator[dict[str, Any]]:
    """The failed frames by their error, those with most frames first."""
    by_error: dict[str, list[FrameResult]] = {}
    for result in failures:
        by_error.setdefault(result.error or "no reason is known", []).append(result)
    groups = sorted(by_error.items(), key=lambda item: -len(item[1]))
    for error, results in groups[:_GROUPS]:
        frames = [result.frame for result in results]
        yield {
            "frames": frames,
            "more": f"and {len(frames) - _JUMPS} more: {frame_ranges(frames)[:200]}"
            if len(frames) > _JUMPS
            else "",
            "error": error[:_TEXT],
            "log_tail": results[0].log_tail[-_TEXT:],
            "again": f"povstorm frame {feed.manifest.job_id} {frames[0]}",
        }
