"""The page itself: facts, previews and plots into one HTML file that needs nothing beside it.

All that comes from a scene, its name or its log is hostile text: the template escapes it, data for
the script is JSON that cannot end its element, and the page's policy runs our own script only.
"""

from __future__ import annotations

import base64
import hashlib
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from povstorm_client.cloud_run.stored_plan import StoredWave
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.spread import spread
from povstorm_client.page.shared_parts import player_script, style
from povstorm_client.quantities import amount, core_words, counted, duration, memory_size, usd
from tasks.report.facts import FrameFacts, FrameState, ReportFacts
from tasks.report.figure import Plot
from tasks.report.previews import Previews
from tasks.report.seconds_plot import is_grouped
from tasks.report.timeline_plot import HOVER_STEPS, Timeline

_HERE = Path(__file__).parent
# The contact sheet has all frames of a job that has no more than the first, else the second.
_WHOLE_SHEET = 240
_SHEET = 120
_FAILURES = 12
_JUMPS = 12
_COMMANDS = 5
_WAVES = 12
_LETTERS: dict[FrameState, str] = {"rendered": "r", "cached": "c", "failed": "f", "missing": "m"}


@dataclass(frozen=True)
class Plots:
    """Each plot wide and narrow; None where there is nothing to plot."""

    seconds: tuple[Plot, Plot] | None
    timeline: tuple[Plot, Plot] | None


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"duration": duration, "memory": memory_size, "usd": usd}
    return environment.get_template("report.html")


# Compiled with the import, which previews_ahead.py sees to before anybody waits for the report.
_TEMPLATE = _template()


@dataclass(frozen=True)
class _Thumb:
    frame: int
    state: FrameState
    image: str


@dataclass(frozen=True)
class _Failure:
    """Frames that failed with one error."""

    count: int
    jumps: tuple[int, ...]
    ranges: str
    error: str
    log_tail: str
    commands: tuple[str, ...]

    @property
    def more(self) -> int:
        return self.count - len(self.jumps)


def render_page(
    facts: ReportFacts, previews: Previews, timeline: Timeline | None, plots: Plots
) -> str:
    """The report, as HTML."""
    script = player_script() + (_HERE / "report.js").read_text("utf-8")
    columns = list(dict.fromkeys(each.variant for each in facts.frames if each.variant))
    sheet = _columns(facts, previews, columns) if columns else _sheet(facts, previews)
    failures, more_failures = _failures(facts)
    stage = _stage_size(facts)
    return _TEMPLATE.render(
        facts=facts,
        verdict="Completed" if facts.completed else "Failed",
        tiles=list(_tiles(facts)),
        failures=failures,
        more_failures=more_failures,
        missing=_ranges(facts, "missing"),
        sheet=sheet,
        columns=columns,
        stage_width=stage[0],
        stage_height=stage[1],
        previews_note=_previews_note(facts, previews),
        seconds=plots.seconds,
        seconds_lead=_seconds_lead(facts),
        seconds_legend=_seconds_legend(facts, plots),
        timeline=plots.timeline,
        timeline_lead=_timeline_lead(facts, timeline),
        timeline_legend=_timeline_legend(facts),
        several_hosts=len({each.host for each in facts.frames if each.host}) > 1,
        time_sentences=list(_time_sentences(facts)),
        waves=facts.waves[:_WAVES],
        more_waves=len(facts.waves) > _WAVES,
        totals=_totals(facts.waves),
        notes=[*facts.notes, *_unreadable(previews)],
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        data=_data(facts, previews, sheet, timeline),
        style=Markup(style()),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
        script_hash=_policy_hash(script),
    )


def _policy_hash(script: str) -> str:
    """How a content security policy names a script that may run (CSP Level 3, 8.3)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _stage_size(facts: ReportFacts) -> tuple[int, int]:
    """The canvas: as large as the page ever shows it, or as the images are."""
    scale = min(1.0, 1040 / facts.width, 1040 / facts.height)
    scale = max(scale, min(640 / facts.width, 640 / facts.height))
    return max(1, round(facts.width * scale)), max(1, round(facts.height * scale))


def _tiles(facts: ReportFacts) -> Iterator[tuple[str, str, str]]:
    """What the job comes to: label, value, note."""
    total = len(facts.frames)
    counts: list[tuple[FrameState, str]] = [
        ("cached", "from the cache"),
        ("failed", "failed"),
        ("missing", "not rendered"),
    ]
    notes = [f"{facts.count(state)} {words}" for state, words in counts if facts.count(state)]
    done = facts.count("rendered") + facts.count("cached")
    yield "Frames", f"{done} of {total}" if done < total else str(total), ", ".join(notes)
    timing = facts.timing
    if timing is None:
        return
    ends = "" if facts.is_still else "from the first frame to the last"
    yield "Rendering", duration(timing.elapsed), ends
    if timing.cpu_seconds:
        memory = memory_size(timing.peak_memory_bytes)
        notes = [f"{memory} of memory" if facts.is_still else f"at most {memory} a frame"]
        if timing.retries:
            notes.append("1 retry" if timing.retries == 1 else f"{timing.retries} retries")
        yield "CPU", duration(timing.cpu_seconds), ", ".join(notes)
    if facts.waves:
        totals = _totals(facts.waves)
        predicted = f"predicted {usd(totals['predicted_usd'])}"
        yield "Cost", usd(totals["billed_usd"]), predicted
    elif timing.own_loop is not None and not facts.is_still:
        words = f"POV-Ray's own with its waits, on {core_words(timing.cores or 0)}, estimated"
        yield "Loop", f"≈ {duration(timing.own_loop)}", words


def _time_sentences(facts: ReportFacts) -> Iterator[str]:
    timing = facts.timing
    if timing is None:
        return
    if not timing.cpu_seconds:
        yield f"No frame was rendered in this run; it took {duration(timing.elapsed)}."
        return
    video = ", the video" if facts.video else ""
    took = duration(timing.elapsed)
    yield f"Rendering took {took}, to which starting{video} and this report come."
    if (said := timing.prediction) is not None:
        hit = "within" if said.low <= timing.cpu_seconds <= said.high else "outside of"
        yield (
            f"A preview of {counted(said.measured, 'frame')} predicted "
            f"{duration(said.cpu_seconds)} of CPU, between {duration(said.low)} and "
            f"{duration(said.high)}; it took {duration(timing.cpu_seconds)}, {hit} that."
        )
    cores = core_words(timing.cores or 0)
    if timing.own_loop is not None:
        whose = "POV-Ray by itself" if facts.is_still else "POV-Ray's own loop"
        what = "it" if facts.is_still else "the frames of this run"
        yield (
            f"{whose} would take about {duration(timing.own_loop)} for {what} on {cores}: "
            f"estimated from {'its' if facts.is_still else 'their'} CPU time, and "
            f"{duration(timing.own_loop_waits)} in which POV-Ray waits."
        )
    if timing.cpu_share is not None:
        yield (
            f"POV-Ray used {100 * timing.cpu_share:.0f} % of the time of {cores}: "
            f"{duration(timing.cpu_seconds)}."
        )


def _totals(waves: Sequence[StoredWave]) -> dict[str, Any]:
    """Of all waves; actual seconds: from the first one's start to the last one's end."""
    ends = [wave.completed for wave in waves if wave.completed is not None]
    started = min((wave.submitted for wave in waves), default=0.0)
    return {
        "frames": sum(wave.frames for wave in waves),
        "tasks": sum(wave.tasks for wave in waves),
        "predicted_seconds": sum(wave.predicted_seconds for wave in waves),
        "seconds": max(ends) - started if ends else 0.0,
        "predicted_usd": sum(wave.predicted_usd for wave in waves),
        "billed_usd": sum(wave.billed_usd or 0.0 for wave in waves),
    }


def _failures(facts: ReportFacts) -> tuple[list[_Failure], str]:
    """The failed frames by their error, those with most frames first; and what was left out."""
    by_error: dict[str, list[FrameFacts]] = {}
    for frame in facts.frames:
        if frame.state == "failed":
            by_error.setdefault(frame.error or "no reason is known", []).append(frame)
    groups = sorted(by_error.items(), key=lambda item: -len(item[1]))
    shown = [
        _Failure(
            count=len(frames),
            jumps=tuple(frame.frame for frame in frames[:_JUMPS]),
            ranges=_shortened(frame_ranges([frame.frame for frame in frames])),
            error=error,
            log_tail=frames[0].log_tail,
            commands=tuple(
                facts.again.replace("FRAME", str(frame.frame)) for frame in frames[:_COMMANDS]
            ),
        )
        for error, frames in groups[:_FAILURES]
    ]
    rest = [frame.frame for _, frames in groups[_FAILURES:] for frame in frames]
    if not rest:
        return shown, ""
    return shown, f"{len(rest)} more failed: {_shortened(frame_ranges(sorted(rest)))}."


def _ranges(facts: ReportFacts, state: FrameState) -> str:
    return _shortened(frame_ranges([each.frame for each in facts.frames if each.state == state]))


def _shortened(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[:most]} …"


def _sheet(facts: ReportFacts, previews: Previews) -> list[_Thumb]:
    if facts.is_still or not previews.images:
        return []
    if len(facts.frames) <= _WHOLE_SHEET:
        chosen = list(facts.frames)
    else:
        chosen = spread([each for each in facts.frames if each.frame in previews.images], _SHEET)
    return [
        _Thumb(each.frame, each.state, _text(previews.images.get(each.frame, b"")))
        for each in chosen
    ]


def _columns(facts: ReportFacts, previews: Previews, columns: Sequence[str]) -> list[_Thumb]:
    """Row by row, a column for each variant: as many rows as there is room for, evenly spread."""
    if not previews.images:
        return []
    by_column = [[each for each in facts.frames if each.variant == name] for name in columns]
    rows = spread(list(zip(*by_column, strict=False)), max(1, _WHOLE_SHEET // len(columns)))
    return [
        _Thumb(each.frame, each.state, _text(previews.images.get(each.frame, b"")))
        for row in rows
        for each in row
    ]


def _text(image: bytes) -> str:
    return base64.b64encode(image).decode("ascii")


def _previews_note(facts: ReportFacts, previews: Previews) -> str:
    images = len(facts.with_image)
    if not images or len(previews.images) >= images - len(previews.unreadable):
        return ""
    return f"{amount(len(previews.images))} of the {amount(images)} images are in this file."


def _unreadable(previews: Previews) -> Iterator[str]:
    if previews.unreadable:
        frame, why = next(iter(previews.unreadable.items()))
        frames = _shortened(frame_ranges(sorted(previews.unreadable)))
        yield f"No preview could be made of {frames}; of {frame}: {why}"


def _seconds_lead(facts: ReportFacts) -> str:
    seconds = sorted(each.seconds for each in facts.frames if each.seconds is not None)
    if not seconds:
        return ""
    if len(seconds) == 1:
        return f"{seconds[0]:.2f} s."
    if len(seconds) < 10:
        return f"From {seconds[0]:.2f} s to {seconds[-1]:.2f} s."
    slow = seconds[min(len(seconds) - 1, int(0.9 * len(seconds)))]
    return (
        f"Half of the frames took at most {statistics.median_low(seconds):.2f} s, nine of ten "
        f"{slow:.2f} s, the slowest {seconds[-1]:.2f} s."
    )


def _seconds_legend(facts: ReportFacts, plots: Plots) -> list[tuple[str, str, str]]:
    """Kind, words, and which of the plots has it: "wide", "narrow", or "" for both."""
    if plots.seconds is None:
        return []
    wide, narrow = (is_grouped(facts.frames, plot.width) for plot in plots.seconds)
    in_bars, in_groups = _where(not wide, not narrow), _where(wide, narrow)
    legend = [
        ("rendered", "rendered", in_bars) if facts.count("rendered") else None,
        ("cached", "from the cache, as timed then", in_bars) if facts.count("cached") else None,
        ("cpu", "CPU seconds", in_bars),
        ("rendered", "median of neighbours", in_groups),
        ("range", "their least to most", in_groups),
        ("failed", "failed", "") if facts.count("failed") else None,
    ]
    return [(kind, words, where) for kind, words, where in filter(None, legend) if where != "none"]


def _where(wide: bool, narrow: bool) -> str:
    return {(True, True): "", (True, False): "wide", (False, True): "narrow"}.get(
        (wide, narrow), "none"
    )


def _timeline_lead(facts: ReportFacts, timeline: Timeline | None) -> str:
    if timeline is None:
        return ""
    hosts, lanes = len(timeline.lanes.hosts), timeline.lanes.count
    if not lanes:
        return "All frames came from the cache."
    who = f"{amount(hosts)} containers" if facts.waves else f"{hosts} machines"
    if hosts == 1:
        who = "One container" if facts.waves else "One machine"
    if lanes == 1:
        return f"{who}, one frame after the other."
    words = f"{who}, up to {lanes} frames at once"
    if not timeline.in_lanes:
        return f"{words}; so many that only their number at work is shown."
    return f"{words}. Each row renders one frame after the other."


def _timeline_legend(facts: ReportFacts) -> list[tuple[str, str]]:
    words = {
        "rendered": "rendered",
        "retried": "failed, tried again",
        "lost": "container lost",
        "failed": "failed for good",
    }
    outcomes = {span.outcome for span in facts.spans}
    legend: list[tuple[str, str]] = [
        (kind, text) for kind, text in words.items() if kind in outcomes
    ]
    if "cached" in outcomes:
        legend.append(("cached tick", f"{amount(facts.count('cached'))} from the cache"))
    if facts.waves:
        legend.append(("wave", "wave: one Cloud Run execution"))
    return legend


def _data(
    facts: ReportFacts, previews: Previews, sheet: Sequence[_Thumb], timeline: Timeline | None
) -> Mapping[str, Any]:
    """What the script needs; by frame, in their order."""
    frames = facts.frames
    in_sheet = {thumb.frame for thumb in sheet if thumb.image}
    hosts = sorted({frame.host for frame in frames})
    host_index = {host: index for index, host in enumerate(hosts)}
    prefix, digits = _image_names(frames)
    return {
        "job": facts.job_id,
        "fps": facts.fps,
        "first": next((frame.frame for frame in facts.with_image), frames[0].frame),
        "image": prefix,
        "digits": digits,
        "video": f"{facts.name}.{facts.video.rpartition('.')[2]}" if facts.video else "",
        "frames": [frame.frame for frame in frames],
        "clocks": [float(f"{frame.clock:.5g}") for frame in frames],
        "at": [round(frame.at, 2) for frame in frames],
        "variants": [frame.variant for frame in frames] if frames[0].variant else [],
        "states": "".join(_LETTERS[frame.state] for frame in frames),
        "seconds": [_short(frame.seconds) for frame in frames],
        "cpu": [_short(frame.cpu_seconds) for frame in frames],
        "memory": [
            None if frame.peak_memory_bytes is None else round(frame.peak_memory_bytes / 2**20, 1)
            for frame in frames
        ],
        "attempts": [frame.attempts for frame in frames],
        "hosts": hosts,
        "host": [host_index[frame.host] for frame in frames],
        "errors": {frame.frame: frame.error[:300] for frame in frames if frame.error},
        "previews": {
            frame: _text(image) for frame, image in previews.images.items() if frame not in in_sheet
        },
        "timeline": {
            "bars": timeline.hover if timeline else [],
            "lanes": timeline.lanes.count if timeline else 0,
            "length": round(timeline.scale.length, 2) if timeline else 0,
            "steps": HOVER_STEPS,
        },
    }


def _short(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _image_names(frames: Sequence[FrameFacts]) -> tuple[str, int]:
    """How images are named: ``("frame_#.png", 4)``; ``("", 0)`` where that is not all there is."""
    digits = {
        len(frame.image.removeprefix("frame_").removesuffix(".png"))
        for frame in frames
        if frame.image
    }
    if len(digits) != 1:
        return "", 0
    (width,) = digits
    alike = all(frame.image in ("", f"frame_{frame.frame:0{width}d}.png") for frame in frames)
    return ("frame_#.png", width) if alike else ("", 0)
