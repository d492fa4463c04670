"""What a stored job holds, whoever wrote it, reaches the terminal of no command but as text."""

from __future__ import annotations

import json
import os
import pty
import re
import time
from pathlib import Path

import pytest

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.state import JobState, write_state
from povstorm_client.storage import layout
from tests.forked_povstorm import ForkedPovstorm
from tests.unit.povstorm_client.test_terminal import HOSTILE, hidden

# What rich writes itself: colours, and what Live moves.
RICH = re.compile(r"\x1b\[[0-9;]*[mKAG]|\x1b\[\?25[lh]|\r(?=\n)")
JOBS_COMMANDS = [
    *(["status", "JOB"], ["fetch", "JOB"], ["jobs", "--size"], ["frame", "JOB", "2"]),
    *(["frame", "--verbose", "JOB", "1", "--output", "loud"], ["clean", "JOB", "--dry-run"]),
    *(["cancel", "JOB"], ["status", f"x{HOSTILE}"], ["render", f"{HOSTILE}.pov"]),
    *(["render", "a.ini", "--dry-run"], [HOSTILE], ["jobs", f"--{HOSTILE}"]),
    *(["doctor"], ["--cluster", HOSTILE, "jobs"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a storage, in it a job whose records and scene are hostile in all they say."""
    folder = tmp_path_factory.mktemp("hostile")
    cluster = Cluster.local(folder / "home")
    job = Job(cluster, "[red]loud[bold]", video=None)
    scene = r'#version 3.7; #debug concat(chr(27), "[2J", chr(7), chr(13), "gone\n")'
    for frame in (1, 2):
        unit = WorkUnit(RenderSettings("a.pov", width=16, height=8, final_frame=2), frame=frame)
        error = '\n#error concat(chr(27), "]0;owned", chr(7), chr(155), "31m", "\u202e")\n'
        unit.add_inline_resource("a.pov", scene + (error if frame == 2 else ""))
        job.add_work_unit(unit)
    job.submit()
    state = JobState("failed", 2, done=1, failed=1, message=HOSTILE, updated=time.time())
    write_state(cluster.storage, job.job_id, state)
    result = FrameResult(
        work_unit_id=job.work_units[1].work_unit_id,
        job_id=job.job_id,
        frame=2,
        state="failed",
        attempt=1,
        host=HOSTILE,
        started=1.0,
        ended=2.0,
        error=HOSTILE,
    )
    key = f"{layout.results(job.job_id)}/{result.work_unit_id}.json"
    cluster.storage.write(key, json.dumps(result.to_json()).encode())
    broken = layout.job_manifest("broken-20260102-030405-ab12")
    cluster.storage.write(broken, json.dumps({HOSTILE: HOSTILE}).encode())
    odd = folder / "a\x1b[2J\u202e"
    odd.mkdir()
    (odd / "b.pov").write_text("camera { location 0 }\n")
    (folder / "a.ini").write_text(f"Input_File_Name={odd}/b.pov\n")
    (folder / "job").write_text(job.job_id)
    return folder


@pytest.mark.parametrize("words", JOBS_COMMANDS, ids=lambda words: " ".join(words)[:20].strip())
def test_every_command_shows_it_as_text(
    folder: Path, forked: ForkedPovstorm, words: list[str], tmp_path: Path
):
    job_id = (folder / "job").read_text()
    control, terminal = pty.openpty()
    with Path(os.devnull).open("rb") as nothing:
        forked.start(
            [word.replace("JOB", job_id) for word in words],
            (nothing.fileno(), terminal, terminal),
            {
                **os.environ,
                "POVSTORM_HOME": str(folder / "home"),
                "PREFECT_API_URL": f"http://{HOSTILE}/api",
                "TERM": "xterm",
                "COLUMNS": "100",
            },
            tmp_path if words[0] in ("frame", "fetch") else folder,
        )
    os.close(terminal)
    said = b""
    while True:
        try:
            more = os.read(control, 65536)
        except OSError:  # the terminal's other end is closed
            break
        if not more:
            break
        said += more
    os.close(control)
    text = RICH.sub("", said.decode())
    assert text.strip()
    assert not hidden(text), text
    assert "Traceback" not in text
    assert forked.wait() in (0, 1, 2)
