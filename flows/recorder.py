"""Wait until Prefect is to be told of a run on this machine; recorder_process.py starts this.

``python -P -m flows.recorder JOB_URI GCP_CREDENTIALS RUN JOURNAL ABOUT WORDS KEPT SECONDS``: after
so many seconds, or when the run's process has ended, of which standard input tells, this waits for
the turn to tell, and record_run begins. Who has the turn tells of the runs that wait as well, so
this ends too when its own is told of. Until then it is next to nothing: it imports what waiting
takes, and leaves the cores to POV-Ray.

``FOLDER KEPT``: the same for what nobody else is to tell of; kept_journals.py starts it.

``JOB_URI GCP_CREDENTIALS RUN LINE``: what record_run becomes when it has given up, until the run's
end, when LINE, which says why, is noted in the job's state.
"""

import fcntl
import os
import select
import sys
import time

_LOOK_SECONDS = 0.5
# Whoever has the turn by then goes on to what this leaves.
_MOST_SECONDS = 6 * 3600.0


def _turn(folder: str, about: int | None) -> int | None:
    """A descriptor of the file of the turn, once it is this process's; None if it is told of.

    about: a descriptor of a file that is there until then; None for all that is left.
    """
    descriptor = os.open(f"{folder}/turn", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < deadline:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            has_turn = True
        except BlockingIOError:
            has_turn = False
        if not (os.fstat(about).st_nlink if about is not None else _is_any_left(folder)):
            return None
        if has_turn:
            return descriptor
        time.sleep(_LOOK_SECONDS)
    return None


def _is_any_left(folder: str) -> bool:
    return any(name.endswith(".json") for name in os.listdir(folder))  # noqa: PTH208 - as below


def _main(
    job_uri: str,
    gcp_credentials: str,
    run: str,
    journal: str,
    about: str,
    words: str,
    kept: str,
    after: str,
) -> None:
    select.select([sys.stdin], [], [], float(after))
    folder = os.path.dirname(journal)  # noqa: PTH120 - importing pathlib takes memory
    if (turn := _turn(folder, int(about))) is not None:
        from flows.record_run import tell

        tell(turn, folder, kept, own=journal, words=int(words))


def _take_up(folder: str, kept: str) -> None:
    if (turn := _turn(folder, None)) is not None:
        from flows.record_run import tell

        tell(turn, folder, kept)


def _note(job_uri: str, gcp_credentials: str, run: str, line: str) -> None:
    select.select([sys.stdin], [], [])
    from flows.record_run import note_end

    note_end(job_uri, gcp_credentials, run, line)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _take_up(*sys.argv[1:])
    elif len(sys.argv) == 5:
        _note(*sys.argv[1:])
    else:
        _main(*sys.argv[1:])
