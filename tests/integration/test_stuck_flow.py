"""A flow whose client is gone ends, whatever it waits for: nobody is there to kill it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from povstorm_client.storage.job_address import job_uri

# The flow, with a step that never ends, and less patience.
STUCK = """
import asyncio, sys, threading
from flows import local_run
def waits_for_ever():
    threading.Event().wait()
async def stuck(*_):
    await asyncio.to_thread(waits_for_ever)
local_run.run_steps = stuck
local_run._STOP_SECONDS = 2.0
sys.exit(local_run._main(*sys.argv[1:]))
"""


def test_it_ends_and_its_log_says_what_it_waited_for(tmp_path: Path):
    job = Job(Cluster.local(tmp_path / "storage"), "stuck", video=None)
    unit = WorkUnit(RenderSettings(scene="scene.pov", width=8, height=8), frame=1)
    unit.add_inline_resource("scene.pov", "camera { location 0 }")
    job.add_work_unit(unit)
    job.submit()
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    # Its standard input ends at once: there is no client.
    ended = subprocess.run(
        [sys.executable, "-c", STUCK, job_uri(job.cluster.storage, job.job_id), "", str(temporary)],
        input="",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ended.returncode == 1
    assert "waits_for_ever" in ended.stderr
