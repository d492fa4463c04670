"""Build a report from what the storage holds; report_step calls it.

Importing it imports Pillow and Jinja, so that is left to the moment when a report is made.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from povstorm_client.errors import RecordError, ToolError
from povstorm_client.frames.developing import developed
from povstorm_client.frames.spread import spread
from povstorm_client.jobs.frame_outputs import output_key
from povstorm_client.jobs.thumbnails import contact_sheet
from povstorm_client.storage.checksum import crc32c_of
from povstorm_client.storage.protocol import Storage
from tasks.report.facts import FrameFacts, ReportFacts
from tasks.report.gather import gather
from tasks.report.job_run import JobRun
from tasks.report.page import Plots, render_page
from tasks.report.previews import ReadyPreviews, make_previews
from tasks.report.seconds_plot import seconds_plot
from tasks.report.timeline_plot import timeline, timeline_plot

# CSS pixels: of the page's column, and of a phone's.
_WIDE, _NARROW = 1040.0, 343.0
_SUMMARY_IMAGES = 18


@dataclass(frozen=True)
class Report:
    """A finished report: its page, the facts in it, and a contact sheet (JPEG; b"": no images)."""

    html: str
    facts: ReportFacts
    sheet: bytes


class ReportStoppedError(Exception):
    """Nobody waits for the report any more."""


def build_report(
    storage: Storage,
    run: JobRun,
    stopped: threading.Event | None = None,
    ready: ReadyPreviews | None = None,
) -> Report:
    """Build it. An image that is missing is only noted. ready: previews that were made before.

    Raises StorageError where the storage fails, ReportStoppedError soon after ``stopped`` is set.
    """
    facts = gather(storage, run)
    checksums = {result.frame: result.image_crc32c for result in run.results}

    def read(frame: FrameFacts) -> bytes:
        if stopped is not None and stopped.is_set():
            raise ReportStoppedError
        data = storage.read(output_key(facts.job_id, frame.image))
        if checksums[frame.frame] not in ("", crc32c_of(data)):
            raise RecordError(
                f"{frame.image} is not what was rendered: {facts.retry} renders it again"
            )
        try:
            return developed(data, run.manifest.settings.tone_mapping)
        except (ValueError, ToolError) as error:
            raise RecordError(f"{frame.image} cannot be shown: {error}") from error

    previews = make_previews(
        facts.with_image,
        read,
        wanted=[frame.frame for frame in facts.slowest],
        ready=ready,
    )
    # One bar says nothing that the words beside the frame do not.
    told = len(facts.spans) > 1 or bool(facts.waves)
    shown = timeline(facts.spans, facts.waves) if told else None
    timed = any(frame.seconds is not None for frame in facts.frames) and not facts.is_still
    html = render_page(
        facts,
        previews,
        shown,
        Plots(
            seconds=(seconds_plot(facts.frames, _WIDE), seconds_plot(facts.frames, _NARROW))
            if timed
            else None,
            timeline=(timeline_plot(shown, _WIDE), timeline_plot(shown, _NARROW))
            if shown
            else None,
        ),
    )
    pictured = [each for each in facts.frames if each.frame in previews.images]
    chosen = spread(pictured, _SUMMARY_IMAGES)
    sheet = contact_sheet([previews.images[each.frame] for each in chosen]) if chosen else b""
    return Report(html, facts, sheet)
