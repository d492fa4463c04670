"""The report's text: what it says in which case, and that other people's text stays text."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from povstorm_client import WorkUnit
from povstorm_client.storage import layout
from povstorm_client.storage.folder import FolderStorage
from tasks.report.build import build_report
from tasks.report.gather import gather
from tasks.report.markdown_summary import summary
from tasks.steps.report_step import report_address
from tests.synthetic_job import (
    START,
    cloud_run,
    failed,
    finished,
    local_run,
    make_manifest,
    make_units,
    rendered,
)


def data_of(html: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', html)[1])


def words_of(html: str) -> str:
    """What a reader sees of it."""
    body = re.sub(r"<(style|script|svg).*?</\1>", "", html, flags=re.DOTALL)
    shown = re.sub(r"<(\w+)\b[^>]* hidden>.*?</\1>", "", body, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", shown).split())


def test_the_page_has_all_frames_and_names_neither_network_nor_script_of_others(
    storage: FolderStorage,
):
    html = build_report(storage, local_run(storage, 5)).html
    data = data_of(html)
    assert data["frames"] == [1, 2, 3, 4, 5]
    assert data["states"] == "rrrrr"
    assert (data["image"], data["digits"]) == ("frame_#.png", 1)
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "Completed" in html
    assert "Frames that failed" not in html


def test_frames_that_failed_alike_are_told_together(storage: FolderStorage):
    units = make_units("alike", 30)
    results = [rendered(units[0], started=START, seconds=1)]
    results += [failed(unit, started=START, error="Parse Error") for unit in units[1:-1]]
    run = finished(storage, make_manifest("alike", 30), units, results)
    html = build_report(storage, run).html
    assert html.count('class="failure"') == 1
    assert "and 16 more: 2-29" in html
    assert "povstorm frame alike 2\n" in html
    assert "1 frame was never rendered: 30." in html


def test_another_run_is_advised_only_where_it_can_help(storage: FolderStorage):
    units = make_units("wrong", 4)
    results = [rendered(units[0], started=START, seconds=1)]
    results += [failed(unit, started=START, error="Parse Error: no }") for unit in units[1:3]]
    run = finished(storage, make_manifest("wrong", 4), units, results)
    html = build_report(storage, run).html
    assert "correct it and render it anew" in html
    assert "povstorm retry wrong" not in html
    lost = failed(units[3], started=START, error="POV-Ray was killed by signal 9")
    run = finished(storage, make_manifest("wrong", 4), units, [*results, lost])
    html = build_report(storage, run).html
    assert "correct it and render it anew" not in html
    assert "povstorm retry wrong" in html


def test_a_job_that_rendered_nothing_has_a_report(storage: FolderStorage):
    units = make_units("nothing", 3)
    run = finished(storage, make_manifest("nothing", 3), units, [])
    html = build_report(storage, replace(run, statistics=None)).html
    assert "0 of 3" in html
    assert "Contact sheet" not in html
    assert "Who rendered what when" not in html


def test_a_job_all_of_whose_frames_were_cached_has_a_report(storage: FolderStorage):
    units = make_units("again", 3)
    results = [rendered(unit, started=START, seconds=2, cache_hit=True) for unit in units]
    html = build_report(storage, finished(storage, make_manifest("again", 3), units, results)).html
    assert "All frames came from the cache." in html
    assert "3 from the cache" in html


def test_of_few_frames_no_part_of_ten_is_told(storage: FolderStorage):
    lead = re.search(
        r"Seconds a frame (.*?) rendered",
        words_of(build_report(storage, local_run(storage, 3)).html),
    )
    assert lead is not None
    assert re.fullmatch(r"From \d\.\d\d s to \d\.\d\d s\.", lead[1])
    assert "nine of ten" in words_of(build_report(storage, local_run(storage, 10)).html)


def test_only_a_job_with_a_video_speaks_of_one(storage: FolderStorage):
    run = local_run(storage, 5)
    words = words_of(build_report(storage, run).html)
    assert "to which starting and this report come" in words
    assert "Plays at" in words
    assert "video" not in words.partition("Stored in")[0]
    storage.write(layout.video("orbit-local", "mp4"), b"a video")
    words = words_of(build_report(storage, run).html)
    assert "to which starting, the video and this report come" in words
    assert "In the video" in words


def test_a_single_frame_has_nothing_to_play_and_no_range(storage: FolderStorage):
    words = words_of(build_report(storage, local_run(storage, 1)).html)
    assert "Frame 1 " in words
    for word in ("Play", "Space", "Contact sheet", "a frame", "Slowest", "once", "loop", "to the"):
        assert word not in words
    assert re.search(r"POV-Ray by itself would take about \d\.\d s for it on 4 cores: ", words)


def test_a_single_frame_that_was_tried_again_has_its_timeline(storage: FolderStorage):
    (unit,) = make_units("again", 1)
    lost = failed(unit, started=START, error="killed", state="retrying")
    results = [rendered(unit, started=START + 2, seconds=1, attempt=2)]
    run = finished(storage, make_manifest("again", 1), [unit], results, attempts=(lost,))
    words = words_of(build_report(storage, run).html)
    assert "Who rendered what when One machine, one frame after the other." in words
    assert "of memory, 1 retry" in words


def test_what_the_own_loop_waits_is_said(storage: FolderStorage):
    run = local_run(storage, 10)
    words = words_of(build_report(storage, run).html)
    assert "estimated from their CPU time, and 2.7 s in which POV-Ray waits." in words
    assert "with its waits, estimated" in summary(gather(storage, run), "https://there/", "")


def test_an_image_that_is_missing_is_noted(storage: FolderStorage):
    run = local_run(storage, 3)
    storage.delete(f"jobs/orbit-local/output/{run.results[1].image}")
    html = build_report(storage, run).html
    assert "No preview could be made of 2" in html
    assert 'aria-label="Frame 2"><span class="nothing">no image</span>' in html


def test_the_summary_escapes_what_others_wrote(storage: FolderStorage):
    unit = make_units("bad", 1)[0]
    error = "<img src=x onerror=alert(1)> | [click](javascript:x) `code` **bold**\n# title"
    results = [failed(unit, started=START, error=error)]
    run = finished(storage, make_manifest("bad", 1, name="<b>"), [unit], results)
    text = summary(gather(storage, run), "file:///report.html", "")
    [line] = [line for line in text.splitlines() if line.startswith("- frame 1")]
    assert line == (
        "- frame 1: &lt;img src=x onerror=alert\\(1\\)&gt; \\| \\[click\\]\\(javascript:x\\) "
        "\\`code\\` \\*\\*bold\\*\\* \\# title"
    )
    assert "## &lt;b&gt;" in text


def test_the_summary_has_numbers_contact_sheet_and_cost(storage: FolderStorage):
    text = summary(gather(storage, cloud_run(storage)), "https://there/report.html", "QUJD")
    assert "![Contact sheet](data:image/jpeg;base64,QUJD)" in text
    assert "| cost | $0.008, predicted $0.014 |" in text
    assert "| frames | 47 of 48, 6 from the cache |" in text
    assert text.endswith("Report: <https://there/report.html>\n")


def test_a_report_in_a_folder_is_no_link_that_browsers_block(storage: FolderStorage):
    facts = gather(storage, cloud_run(storage))
    text = summary(facts, "file:///a%20folder/jobs/orbit/report.html", "")
    assert "file://" not in text
    assert "\n    /a folder/jobs/orbit/report.html\n" in text
    assert f"\n    {facts.show}\n" in text
    assert facts.show.endswith(f" report {facts.job_id}")


def test_a_report_in_a_bucket_has_an_address_for_browsers(storage: FolderStorage):
    class Bucket:
        uri = "gs://a-bucket"

    key = "jobs/orbit/report.html"
    assert report_address(Bucket(), key) == (
        "https://storage.cloud.google.com/a-bucket/jobs/orbit/report.html"
    )
    assert report_address(storage, key) == f"{storage.uri}/{key}"


def test_a_jobs_variants_are_columns_of_the_contact_sheet_row_by_row(storage: FolderStorage):
    settings = make_units("swept", 2)[0].settings
    units = [
        WorkUnit(each, each.number_of(frame)).assigned(
            job_id="swept", shared_prefix="", offload_prefix=layout.output("swept")
        )
        for each in (
            replace(settings, variant=str(index), options=(f"Declare=N={value}", "Declare=K=1"))
            for index, value in enumerate((3, 5, 8), start=1)
        )
        for frame in (1, 2)
    ]
    results = [rendered(unit, started=START, seconds=1) for unit in units]
    manifest = replace(make_manifest("swept", 2), frames=tuple(unit.frame for unit in units))
    run = finished(storage, manifest, units, results)

    html = build_report(storage, run).html

    assert re.findall(r'class="variant">([^<]*)<', html) == ["N=3", "N=5", "N=8"]
    assert re.findall(r'class="number">(\d+)<', html) == ["11", "21", "31", "12", "22", "32"]
    assert "repeat(3, " in html
    assert data_of(html)["variants"] == ["N=3", "N=3", "N=5", "N=5", "N=8", "N=8"]
