"""Wait until Prefect is to be told of a run on this machine; recorder_process.py starts this.

``python -P -m flows.recorder JOB_URI GCP_CREDENTIALS RUN JOURNAL WORDS SECONDS``: record_run begins
after so many seconds, or when the run's process has ended, of which standard input tells. Until
then this is next to nothing: it imports what waiting takes, and leaves the cores to POV-Ray.

``JOB_URI GCP_CREDENTIALS RUN LINE``: what record_run becomes when it has given up, until the run's
end, when LINE, which says why, is noted in the job's state.
"""

import select
import sys
import time

# A run that its user cancels before is not worth Prefect's start.
EARLY_SECONDS = 10.0


def _main(
    job_uri: str, gcp_credentials: str, run: str, journal: str, words: str, after: str
) -> None:
    begun = time.monotonic()
    has_ended = bool(select.select([sys.stdin], [], [], float(after))[0])
    ended_early = has_ended and time.monotonic() - begun < EARLY_SECONDS
    from flows.record_run import tell

    tell(job_uri, gcp_credentials, run, int(journal), int(words), ended_early=ended_early)


def _note(job_uri: str, gcp_credentials: str, run: str, line: str) -> None:
    select.select([sys.stdin], [], [])
    from flows.record_run import note_end

    note_end(job_uri, gcp_credentials, run, line)


if __name__ == "__main__":
    (_note if len(sys.argv) == 5 else _main)(*sys.argv[1:])
