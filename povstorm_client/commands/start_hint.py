"""A line about `povstorm server`, for who has waited for Prefect's start; ``render`` prints it."""

from __future__ import annotations

import time
from collections.abc import Callable

from povstorm_client.cluster import Cluster, home_folder
from povstorm_client.jobs.state import JobState
from povstorm_client.launch.kept_server import server_for_flows
from povstorm_client.launch.prefect_server import chosen_server
from povstorm_client.quantities import duration

# Longer than a flow takes that finds a server.
_LONG_SECONDS = 6.0
# Longer than Prefect needs to take note of the last frame.
_LONG_WAIT_SECONDS = 2.0


class StartWatch:
    """How long a flow took, from now, to do anything, and to go on when all frames were done.

    Frames are rendered while Prefect starts; what comes after them waits for it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin = clock()
        self._seconds = 0.0
        self._all_done: float | None = None
        self._waited = 0.0

    def look(self, state: JobState) -> None:
        """See a state of the job."""
        if not self._seconds and state.phase != "submitted":
            self._seconds = self._clock() - self._begin
        is_done = state.done + state.failed == state.total
        if state.phase in ("staging", "rendering"):
            if is_done and self._all_done is None:
                self._all_done = self._clock()
        elif self._all_done is not None and not self._waited:
            self._waited = self._clock() - self._all_done

    def hint(self, cluster: Cluster) -> str:
        """The line; "" where a kept server would not have spared much, or there is one."""
        began_late = self._seconds >= _LONG_SECONDS
        if cluster.deployment is not None or not (began_late or self._waited >= _LONG_WAIT_SECONDS):
            return ""
        if chosen_server() is not None or server_for_flows(home_folder()) is not None:
            return ""
        if not began_late:
            return (
                f"all frames were there {duration(self._waited)} before Prefect's server was: "
                "`povstorm server start` keeps one for the day"
            )
        return (
            f"the flow took {duration(self._seconds)} to start, most of it Prefect's server: "
            "`povstorm server start` keeps one for the day"
        )
