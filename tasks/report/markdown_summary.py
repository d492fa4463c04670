"""The summary of a job in Markdown, for the Prefect UI; report_step asks for it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.quantities import duration, usd
from tasks.report.facts import ReportFacts

_FAILURES = 8


def summary(facts: ReportFacts, address: str, sheet: str) -> str:
    """Markdown: outcome, numbers, contact sheet, failures.

    address: the report's; sheet: base64 of a JPEG, "" for none. Names and errors are other people's
    text: they are escaped.
    """
    return "\n\n".join(_parts(facts, address, sheet)) + "\n"


def _parts(facts: ReportFacts, address: str, sheet: str) -> Iterator[str]:
    yield f"## {_plain(facts.name)}"
    yield f"**{'Completed' if facts.completed else 'Failed'}**: {_plain(facts.message)}"
    if sheet:
        yield f"![Contact sheet](data:image/jpeg;base64,{sheet})"
    rows = [f"| {label} | {value} |" for label, value in _rows(facts)]
    yield "\n".join([rows[0], "|---|---|", *rows[1:]])
    failed = [frame for frame in facts.frames if frame.state == "failed"]
    if failed:
        yield "### Failed frames"
        lines = [f"- frame {each.frame}: {_plain(each.error)}" for each in failed[:_FAILURES]]
        yield "\n".join(lines)
        if len(failed) > _FAILURES:
            rest = frame_ranges([each.frame for each in failed[_FAILURES:]])
            yield f"and {len(failed) - _FAILURES} more: {rest[:200]}"
        yield "Render one of them again with:"
        # Indented text is code, whatever is in it.
        yield "    " + facts.again.replace("FRAME", str(failed[0].frame))
    yield f"Report: {where_report_is(address, facts.show)}"


def where_report_is(address: str, command: str) -> str:
    """Markdown that leads to the report: a link, or, as browsers open no files from a page, how.

    command: the one that opens it.
    """
    if not address.startswith("file://"):
        return f"<{address}>"
    # Indented text is code, whatever is in it.
    path = unquote(urlsplit(address).path)
    return (
        f"open it with\n\n    {command}\n\nor as a file of the machine that rendered:\n\n    {path}"
    )


def _rows(facts: ReportFacts) -> Iterator[tuple[str, str]]:
    rendered, cached = facts.count("rendered"), facts.count("cached")
    words = f"{rendered + cached} of {len(facts.frames)}"
    if cached:
        words += f", {cached} from the cache"
    yield "frames", words
    timing = facts.timing
    if timing is not None:
        yield "rendering", duration(timing.elapsed)
        yield "CPU", duration(timing.cpu_seconds)
        if timing.own_loop is not None:
            yield (
                "POV-Ray's own loop",
                f"about {duration(timing.own_loop)} with its waits, estimated",
            )
        if timing.retries:
            yield "retries", str(timing.retries)
    if facts.waves:
        billed = sum(wave.billed_usd or 0.0 for wave in facts.waves)
        predicted = sum(wave.predicted_usd for wave in facts.waves)
        yield "cost", f"{usd(billed)}, predicted {usd(predicted)}"
    yield "size", f"{facts.width}x{facts.height}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    line = " ".join(text.split())[:500]
    return re.sub(r"([\\`*_{}\[\]()#+!|~<>-])", r"\\\1", html.escape(line, quote=False))
