"""What a job's end stores, which nobody stores later: the writes wait for room on a full disk.

statistics_step, report_step and tasks/video (encode.py, join.py) store their results through it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from povstorm_client.errors import StorageError
from povstorm_client.storage.disk_full import is_disk_full

T = TypeVar("T")
# Before each further try, seconds; a job's last state is waited for as long (job_progress.py).
# Frames that found no room are tried again as well, and what is written beside them comes and goes.
LAST_DELAYS = (1.0, 2.0, 4.0)


def store_last(store: Callable[[], T]) -> T:
    """What ``store`` returns, which is called again some seconds later where the disk is full.

    Blocks meanwhile: for threads. Raises the StorageError of the last call, and any other at once.
    """
    for seconds in LAST_DELAYS:
        try:
            return store()
        except StorageError as error:
            if not is_disk_full(error):
                raise
        time.sleep(seconds)
    return store()
