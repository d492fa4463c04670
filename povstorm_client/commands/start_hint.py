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


class StartWatch:
    """How long a flow took, from now, until it did anything."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin = clock()
        self._seconds = 0.0

    def look(self, state: JobState) -> None:
        """See a state of the job."""
        if not self._seconds and state.phase != "submitted":
            self._seconds = self._clock() - self._begin

    def hint(self, cluster: Cluster) -> str:
        """The line; "" where a kept server would not have spared much, or there is one."""
        if self._seconds < _LONG_SECONDS or cluster.deployment is not None:
            return ""
        if chosen_server() is not None or server_for_flows(home_folder()) is not None:
            return ""
        return (
            f"the flow took {duration(self._seconds)} to start, most of it Prefect's server: "
            "`povstorm server start` keeps one for the day"
        )
