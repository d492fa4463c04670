"""A page as HTML, with what never changes of a job, or of drafts; what does comes as events.

Nothing in it is from a scene but its name and its files' names, which the template escapes: all
other text arrives as JSON, and the script puts it into the page as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from povstorm_client.frames.ranges import first_and_last
from povstorm_client.frames.variant_words import variant_words
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.live.job_feed import JobFeed
from povstorm_client.page.shared_parts import player_script, style
from povstorm_client.version import povstorm_version

_HERE = Path(__file__).parent
# CSS pixels: of the page's column.
_WIDE = 1040


@dataclass(frozen=True)
class PageWords:
    """What is said otherwise on a job's page and on one of drafts.

    cached: what frames are that were not rendered for this. follow: of the button that shows what
    is new; follow_title says more. unanswered: where the server is gone. facts: label, value.
    """

    kicker: str
    cached: str
    follow: str
    follow_title: str
    unanswered: str
    without_scripts: str
    footer: str
    facts_title: str
    facts: Sequence[tuple[str, str]]


def job_page(feed: JobFeed) -> str:
    """The page of a job."""
    manifest = feed.manifest
    settings = feed.units[0].settings
    words = PageWords(
        kicker="povstorm live",
        cached="from the cache",
        follow="Newest",
        follow_title="Show each frame when it is done",
        unanswered="Is `povstorm live` still running?",
        without_scripts=f"povstorm status {manifest.job_id} --watch",
        footer="When the job has ended, this page is its report.",
        facts_title="The job",
        facts=[
            ("Job", manifest.job_id),
            ("Scene", settings.scene.removeprefix("shared/")),
            ("Size", f"{settings.width}x{settings.height} pixels"),
        ],
    )
    rate = float(manifest.settings.frames_per_second)
    return html_page(manifest.name, feed.units, rate, words)


def html_page(
    name: str, units: Sequence[WorkUnit], rate: float, words: PageWords, *, edition: str = ""
) -> str:
    """A page of frames; rate: frames a second.

    edition: of drafts; the page is loaded anew when it is told of another.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined
    )
    settings = units[0].settings
    variants = variant_words(units)
    scale = min(1.0, _WIDE / settings.width, _WIDE / settings.height)
    data: dict[str, Any] = {
        "version": povstorm_version(),
        "fps": rate,
        "runs": first_and_last([unit.frame for unit in units]),
        "clocks": [f"{unit.settings.clock_of(unit.frame):.5g}" for unit in units],
        "variants": [variants[unit.settings.variant] for unit in units] if variants else [],
        "cached": words.cached,
        "unanswered": words.unanswered,
        "edition": edition,
    }
    return environment.get_template("live.html").render(
        name=name,
        frames=len(units),
        width=settings.width,
        height=settings.height,
        stage_width=max(1, round(settings.width * scale)),
        stage_height=max(1, round(settings.height * scale)),
        words=words,
        data=data,
    )


def page_files() -> dict[str, tuple[str, str]]:
    """What pages are made with: name → media type, text."""
    return {
        "live.css": ("text/css", style() + (_HERE / "live.css").read_text("utf-8")),
        "live.js": ("text/javascript", player_script() + (_HERE / "live.js").read_text("utf-8")),
    }
