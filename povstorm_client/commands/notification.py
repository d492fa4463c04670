"""``--notify``: tell somebody who has left the terminal that a job has ended, with its pictures.

render, retry and ``status --watch`` use it. Services are reached through Apprise, by whose
addresses (``ntfy://``, ``slack://``, ``mailto://``, …) Prefect's own notification blocks work too.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from povstorm_client.cloud_run.stored_plan import StoredPlan, read_plan
from povstorm_client.commands.warn import warn
from povstorm_client.errors import InputError, PovstormError, StorageError
from povstorm_client.jobs.job_sheet import job_sheet
from povstorm_client.launch.web_address import check_web_address
from povstorm_client.quantities import counted, usd
from povstorm_client.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from povstorm_client.job import Job

Notify = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time
    typer.Option(
        metavar="URL|COMMAND",
        help="Tell when the job has ended: a webhook or Apprise URL (ntfy://…, slack://…), or a "
        "command, which gets a title and a text",
    ),
]

# A command that tells somebody needs no longer.
_COMMAND_SECONDS = 60.0
_MOST_CHARACTERS = 1000


@dataclass(frozen=True)
class News:
    """How a job ended. picture: a JPEG file of its frames, None without any."""

    job_id: str
    title: str
    text: str
    is_good: bool
    picture: Path | None = None


# Tells it, and says why that was not possible; "" when it was.
Teller = Callable[[News], str]


def teller(target: str) -> Teller:
    """How to tell news to a URL, or to a command with its arguments.

    Plain ``https://`` addresses that Apprise does not know as a service get its JSON by POST.
    Raises InputError, before anything is rendered, for what is neither.
    """
    if "://" in target.partition(" ")[0]:
        return _by_apprise(target)
    return _by_command(target)


def tell_end(job: Job, tell: Teller | None, *, why: str = "") -> None:
    """Tell that a job has ended; what prevents it is a warning, as the job is none the worse.

    why: the error that ended it, "" where its state says all.
    """
    if tell is None:
        return
    try:
        with _picture(job) as picture:
            trouble = tell(_news(job, why, picture))
    except (PovstormError, OSError) as error:
        trouble = str(error)
    if trouble:
        words = one_line(trouble)[:_MOST_CHARACTERS]
        warn(f"nobody was told that job {job.job_id} has ended: {words}")


def _news(job: Job, why: str, picture: Path | None) -> News:
    state = job.readable_state()
    phase = "failed" if why else state.phase if state else "ended"
    words = []
    if state is not None:
        words.append(f"{state.done} of {counted(state.total, 'frame')}")
        if state.failed:
            words.append(f"{state.failed} failed")
    if (plan := _plan(job)) is not None:
        words.append(usd(plan.billed_usd))
    lines = [", ".join(words)] if words else []
    reason = why or (state.message if state and phase != "completed" else "")
    if reason:
        lines.append(reason.strip().splitlines()[0])
    then = "fetch" if phase == "completed" else "retry"
    lines.append(f"povstorm {then} {job.job_id}")
    text = "\n".join(one_line(line)[:_MOST_CHARACTERS] for line in lines)
    return News(
        job.job_id, one_line(f"povstorm: {job.name} {phase}"), text, phase == "completed", picture
    )


def _plan(job: Job) -> StoredPlan | None:
    try:
        return read_plan(job.cluster.storage, job.job_id) if job.fleet is not None else None
    except StorageError:
        return None


@contextmanager
def _picture(job: Job) -> Iterator[Path | None]:
    try:
        sheet = job_sheet(
            job.cluster.storage, job.job_id, job.work_units, job.settings.tone_mapping
        )
    except StorageError:
        sheet = None  # the news matters more
    if sheet is None or not sheet.frames:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="povstorm-news-") as folder:
        path = Path(folder) / f"{job.job_id}.jpg"
        path.write_bytes(sheet.jpeg)
        yield path


def _by_apprise(url: str) -> Teller:
    import apprise

    service = apprise.Apprise()
    scheme, _, rest = url.partition("://")
    as_json = {"http": "json", "https": "jsons"}.get(scheme.casefold())
    if as_json is not None:
        # Apprise takes some that no program can call.
        check_web_address(url, f"--notify {scheme}://…")
    with apprise.LogCapture(level=apprise.logging.ERROR):  # type: ignore[no-untyped-call]
        known = service.add(url) or (as_json is not None and service.add(f"{as_json}://{rest}"))
    if not known:
        raise InputError(
            f"--notify {scheme}://… is no address that Apprise knows: give a https:// address, or "
            "one of github.com/caronc/apprise/wiki, or a command"
        )

    def tell(news: News) -> str:
        attached = apprise.AppriseAttachment(str(news.picture)) if news.picture else None
        kind = apprise.NotifyType.SUCCESS if news.is_good else apprise.NotifyType.FAILURE
        with apprise.LogCapture(level=apprise.logging.WARNING, fmt="%(message)s") as said:  # type: ignore[no-untyped-call]
            if service.notify(news.text, news.title, notify_type=kind, attach=attached):
                return ""
            return f"{scheme}://… did not take it: {said.getvalue() or 'no answer'}"

    return tell


def _by_command(line: str) -> Teller:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InputError(f"--notify {line!r} is no command: {error}") from error
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise InputError(
            f"--notify {line!r} is neither a URL nor a program that is here: give one, such as "
            "https://…, ntfy://TOPIC or notify-send"
        )

    def tell(news: News) -> str:
        told = {
            "POVSTORM_JOB_ID": news.job_id,
            "POVSTORM_PICTURE": str(news.picture or ""),
            "POVSTORM_SUCCESS": "1" if news.is_good else "0",
        }
        try:
            done = subprocess.run(
                [program, *words[1:], news.title, news.text],
                env={**os.environ, **told},
                stdin=subprocess.DEVNULL,
                check=False,
                timeout=_COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            return f"{program} took more than {error.timeout:.0f} s"
        return f"{program} ended with exit code {done.returncode}" if done.returncode else ""

    return tell
