"""The live page of a job whose storage is a bucket, while frames become done."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx

from povstorm_client.live.job_feed import JobFeed
from povstorm_client.live.live_address import live_address
from povstorm_client.live.live_server import live_server
from povstorm_client.storage import layout
from povstorm_client.storage.bucket import GcsStorage
from tests.live_job import LiveJob

# Seconds; of a busy machine.
PATIENCE = 120.0


def test_frames_appear_with_their_pictures_and_the_report_at_the_end(
    gcs_storage: GcsStorage, tmp_path: Path
):
    job = LiveJob(gcs_storage, 12)
    job.render(1, 6)
    job.fail(3, "no light")
    feed = JobFeed.open(gcs_storage, job.job_id)
    address = live_address(tmp_path, gcs_storage.uri, job.job_id)
    with (
        live_server(gcs_storage, feed, address) as server,
        httpx.stream("GET", f"{server.address.url}events", timeout=PATIENCE) as answer,
    ):
        deadline = time.monotonic() + PATIENCE
        goes_on = False
        letters: dict[int, str] = {}
        versions: dict[int, str] = {}
        for line in answer.iter_lines():
            assert time.monotonic() < deadline, letters
            if line.startswith("data: "):
                for row in json.loads(line[6:]).get("rows", []):
                    letters[row[0]], versions[row[0]] = row[1], row[9]
            are_there = letters == {0: "r", 2: "f", 5: "r"} and versions[0] and versions[5]
            if are_there and not goes_on:
                goes_on = True
                job.render(12)
            if letters.get(11) == "r" and versions[11]:
                break
        for index in (0, 5, 11):
            url = f"{server.address.url}frames/{index + 1}/{versions[index]}.webp"
            assert httpx.get(url, timeout=PATIENCE).content.startswith(b"RIFF")

        gcs_storage.write(layout.report(job.job_id), b"<!doctype html><title>The report</title>")
        job.publish(phase="completed")
        page = httpx.get(server.address.url, timeout=PATIENCE, follow_redirects=True)
        assert page.text.endswith("<title>The report</title>")
