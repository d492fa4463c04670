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
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flows.opened_job import OpenedJob
from flows.outcome import Outcome
from povstorm_client.errors import PovstormError
from povstorm_client.launch.kept_journals import JournalOf, journal_folder, keep_journal
from povstorm_client.launch.kept_server import running_server
from povstorm_client.launch.prefect_server import chosen_server
from povstorm_client.launch.telling_time import NEVER, VARIABLE, is_never_told, seconds_until_told
from povstorm_client.programs.cores import cores
from povstorm_client.programs.priority import nice
from povstorm_client.storage.povstorm_home import home_folder
from povstorm_client.version import povstorm_version
from tasks.journal.events import JobEnded
from tasks.journal.journal import LOGGER, Journal, JournalHandler

# What the process may say; the second is followed by a line for people.
STOP = b"stop"
UNRECORDED = b"unrecorded "
# POV-Ray goes before it, and what else a user does; its session, which Prefect's server is in, has
# that priority too.
NICENESS = 5
# A run that its user cancels before is not worth Prefect's start.
EARLY_SECONDS = 10.0
_NONE = "Prefect has no record of this run"


class RecorderProcess:
    """A journal, and the process for it, which is there from when the first frame is in work on.

    There is none where the user has chosen that Prefect is never told.
    """

    def __init__(self, job: OpenedJob, job_uri: str, gcp_credentials: str) -> None:
        self._job = job
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._words = b""
        self._refused = ""
        self._begun = time.time()
        self._kept_server, self._kept, events = "", None, None
        try:
            if is_never_told():
                self._refused = f"{VARIABLE} is {NEVER!r}"
            else:
                # Frames that are rendered elsewhere have no use for this machine's cores.
                after = 0.0 if job.manifest.cloud_run else seconds_until_told(cores())
                run = job.progress.state.run
                told_at = self._begun + after
                version = povstorm_version()
                of = JournalOf(job_uri, gcp_credentials, run, self._begun, told_at, version)
                self._kept_server = _kept_server()
                folder = journal_folder(home_folder(), job_uri, self._kept_server)
                self._kept, self._about, events = keep_journal(folder, of)
        except OSError as error:
            self._refused = f"its journal cannot be kept ({error.strerror or error})"
        except PovstormError as error:
            self._refused = f"its journal cannot be kept: {error}"
        self.journal = Journal(events, self._on_frame)

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
        progress = self._job.progress
        if outcome.phase == "cancelled" and self._is_early and self._kept is not None:
            self._kept.remove()
            if self._process is not None:
                self._process.terminate()
            progress.unrecorded(f"{_NONE}, which was stopped in its first seconds")
            return
        if self._process is None or (self._process.poll() is not None and not self._is_told):
            # The journal is there: one that was killed is no loss.
            self._process = None
            self._start()
        if self._refused:
            progress.unrecorded(f"{_NONE}: {self._refused}")
        elif self.journal.broken:
            progress.unrecorded(f"Prefect has not recorded all of this run: {self.journal.broken}")
        if not self._is_told and not self._refused:
            progress.recording(goes_on=True)

    @property
    def _is_early(self) -> bool:
        """Whether the run has just begun, and Prefect was not told of it yet."""
        now, kept = time.time(), self._kept
        is_told = self._process is not None and kept is not None and now >= kept.of.told_at
        return now - self._begun < EARLY_SECONDS and not is_told

    @property
    def _is_told(self) -> bool:
        """Whether who told Prefect has given up, or come to the end."""
        return bool(self._job.progress.state.unrecorded) or not (
            self._kept is not None and self._kept.path.exists()
        )

    def _on_frame(self) -> None:
        if self._process is None and not self._refused:
            # The frame itself comes first.
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        if self._process is not None or self._kept is None:
            return
        lifeline, self._lifeline = os.pipe()
        words, says = os.pipe()
        of, about = self._kept.of, self._about.fileno()
        after = max(0.0, of.told_at - time.time())
        environment = {name: text for name, text in os.environ.items() if name != "TMPDIR"}
        try:
            self._process = subprocess.Popen(
                [
                    *nice(NICENESS),
                    *(sys.executable, "-P", "-m", "flows.recorder"),
                    *(of.job_uri, of.gcp_credentials, of.run, str(self._kept.path)),
                    *(str(about), str(says), self._kept_server, str(after)),
                ],
                stdin=lifeline,
                # Its output is in the run's.
                stdout=sys.stderr.fileno(),
                pass_fds=(about, says),
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


def _kept_server() -> str:
    """The API of what `povstorm server` keeps, if that is the chosen one; else ""."""
    chosen = chosen_server()
    try:
        kept = None if chosen is None else running_server(home_folder())
    except PovstormError:
        # The client has warned of it, and has chosen none.
        kept = None
    return kept.api if kept is not None and chosen is not None and kept.api == chosen.url else ""
