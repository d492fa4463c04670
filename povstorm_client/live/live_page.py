"""The live page as HTML, with what of a job never changes; what does comes as events.

Nothing in it is from a scene but the job's name, which the template escapes: all other text arrives
as JSON, and the script puts it into the page as text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from povstorm_client.frames.ranges import first_and_last
from povstorm_client.live.job_feed import JobFeed
from povstorm_client.page.shared_parts import player_script, style
from povstorm_client.version import povstorm_version

_HERE = Path(__file__).parent
# CSS pixels: of the page's column.
_WIDE = 1040


def live_page(feed: JobFeed) -> str:
    """The page of a job."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined
    )
    settings = feed.units[0].settings
    scale = min(1.0, _WIDE / settings.width, _WIDE / settings.height)
    return environment.get_template("live.html").render(
        name=feed.manifest.name,
        job_id=feed.manifest.job_id,
        frames=len(feed.units),
        width=settings.width,
        height=settings.height,
        stage_width=max(1, round(settings.width * scale)),
        stage_height=max(1, round(settings.height * scale)),
        scene=settings.scene.removeprefix("shared/"),
        data=_data(feed),
    )


def live_files() -> dict[str, tuple[str, str]]:
    """What the page is made with: name → media type, text."""
    return {
        "live.css": ("text/css", style() + (_HERE / "live.css").read_text("utf-8")),
        "live.js": ("text/javascript", player_script() + (_HERE / "live.js").read_text("utf-8")),
    }


def _data(feed: JobFeed) -> dict[str, Any]:
    manifest = feed.manifest
    rate = manifest.settings.frames_per_second
    return {
        "version": povstorm_version(),
        "fps": float(rate),
        "runs": first_and_last(manifest.frames),
        "clocks": [f"{unit.settings.clock_of(unit.frame):.5g}" for unit in feed.units],
    }
