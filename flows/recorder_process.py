"""RecorderProcess: has Prefect told of a run on this machine, by a process that nobody waits for.

local_run keeps one. The process (recorder.py) reads the run's journal, at low priority, once that
costs the rendering little, and goes on after the run until Prefect knows all of it; it writes
nothing of the job but its state's note of that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from flows.opened_job import OpenedJob
from flows.outcome import Outcome
from povstorm_client.launch.telling_time import NEVER, VARIABLE, is_never_told, seconds_until_told
from povstorm_client.programs.priority import nice
from render_image.machine import cores
from tasks.journal.events import JobEnded
from tasks.journal.journal import LOGGER, Journal, JournalHandler

# What the process may say; the second is followed by a line for people.
STOP = b"stop"
UNRECORDED = b"unrecorded "
# POV-Ray goes before it, and what else a user does; its session, which Prefect's server is in, has
# that priority too.
NICENESS = 5


class RecorderProcess:
    """A journal, and the process for it, which is there from when the first frame is in work on.

    There is none where the user has chosen that Prefect is never told.
    """

    def __init__(self, job: OpenedJob, job_uri: str, gcp_credentials: str) -> None:
        self._job = job
        self._of = (job_uri, gcp_credentials, job.progress.state.run)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._words = b""
        self._untold = f"{VARIABLE} is {NEVER!r}" if is_never_told() else ""
        self._refused = self._untold
        # It has no name, so nothing of it is left, however this ends.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this process
        self.journal = Journal(self._file, self._on_frame)

    @contextmanager
    def logged(self) -> Iterator[logging.Logger]:
        """The run's logger: in the block all that is logged to it is in the journal."""
        logger = logging.getLogger(LOGGER)
        handlers: list[logging.Handler] = [JournalHandler(self.journal), logging.StreamHandler()]
        handlers[1].setLevel(logging.WARNING)
        logger.setLevel(logging.INFO)
        for handler in handlers:
            logger.addHandler(handler)
        try:
            yield logger
        finally:
            for handler in handlers:
                logger.removeHandler(handler)

    def end(self, outcome: Outcome) -> None:
        """Write down how the job ended, and say in its state whether Prefect knows, or will."""
        self.journal.write(JobEnded(outcome.phase, outcome.message))
        if self._process is None and outcome.phase != "cancelled":
            self._start()
        if why := self._why_not():
            self._job.progress.unrecorded(why)
        elif not self._job.progress.state.unrecorded:
            self._job.progress.recording(goes_on=True)

    def _why_not(self) -> str:
        """Why Prefect will not know all of the run, in a line, or ""."""
        none = "Prefect has no record of this run"
        if self.journal.broken:
            return f"Prefect has not recorded all of this run: {self.journal.broken}"
        if self._refused:
            return f"{none}: {self._refused}"
        if self._process is None:
            return f"{none}, which was stopped before any frame was in work"
        if (code := self._process.poll()) is not None and not self._job.progress.state.unrecorded:
            return f"{none}: what tells it ended with {code}"
        return ""

    def _on_frame(self) -> None:
        if self._process is None and not self._refused:
            # The frame itself comes first.
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        if self._process is not None or self._untold:
            return
        lifeline, self._lifeline = os.pipe()
        words, says = os.pipe()
        journal = self._file.fileno()
        # Frames that are rendered elsewhere have no use for this machine's cores.
        after = 0.0 if self._job.manifest.cloud_run else seconds_until_told(cores())
        environment = {name: text for name, text in os.environ.items() if name != "TMPDIR"}
        try:
            self._process = subprocess.Popen(
                [
                    *nice(NICENESS),
                    *(sys.executable, "-P", "-m", "flows.recorder", *self._of),
                    *(str(journal), str(says), str(after)),
                ],
                stdin=lifeline,
                # Its output is in the run's.
                stdout=sys.stderr.fileno(),
                pass_fds=(journal, says),
                # It outlives the run, whose client ends what is left of the run's session.
                start_new_session=True,
                env=environment,
            )
        except OSError as error:
            self._refused = f"what tells it cannot be started ({error.strerror or error})"
            os.close(words)
            return
        finally:
            os.close(lifeline)
            os.close(says)
        asyncio.get_running_loop().add_reader(words, self._hear, words)

    def _hear(self, words: int) -> None:
        data = os.read(words, 1 << 16)
        if not data:
            asyncio.get_running_loop().remove_reader(words)
            os.close(words)
            return
        *lines, self._words = (self._words + data).split(b"\n")
        for line in lines:
            if line == STOP:
                self._job.stop.set()
            elif line.startswith(UNRECORDED):
                said = line.removeprefix(UNRECORDED).decode(errors="replace")
                self._job.progress.unrecorded(said)
