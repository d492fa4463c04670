"""BucketAccess: whether the bucket lets render containers in, and when that is tried again.

Of frames' waves Outcomes tells it of containers and the dispatcher asks it before it starts any; of
segments' waves SegmentDispatcher does both. Memory only: the seconds of the event loop's clock are
passed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from povstorm_client.errors import CloudError
from povstorm_client.quantities import duration
from povstorm_client.storage.credentials import GRANTS_SPREAD

NOT_LET_IN = (
    "render containers may not read their work in the storage: run `terraform apply`, which grants "
    f"it to the renderer's account; {GRANTS_SPREAD}"
)


class BucketAccess:
    """waits: seconds before each further wave while no container is let in; then it is given up."""

    def __init__(self, waits: Sequence[float]) -> None:
        self._waits = tuple(waits)
        self._refusals = 0
        self._refused_at = -math.inf
        self._wait = 0.0

    def granted(self) -> None:
        """A container has stored a result."""
        self._refusals, self._wait = 0, 0.0

    def refused(self, launched: float, now: float) -> None:
        """A container of a wave launched at that time was not let in.

        Waves that were launched before the last refusal tell nothing new.
        """
        if launched < self._refused_at:
            return
        self._refused_at = now
        self._wait = self._waits[self._refusals] if self._refusals < len(self._waits) else math.inf
        self._refusals += 1

    @property
    def is_in_doubt(self) -> bool:
        """Whether the container that was heard of last was not let in: few are to find out."""
        return self._refusals > 0

    def holds_back(self, now: float) -> bool:
        """Whether no wave is to start at this time."""
        return now - self._refused_at < self._wait

    def check(self) -> None:
        """CloudError once it was tried often enough."""
        if self._wait == math.inf:
            raise CloudError(
                f"tried {self._refusals} times, with {duration(sum(self._waits))} in between: "
                f"{NOT_LET_IN}",
                "refused",
            )

    def waits_for(self, now: float) -> str:
        """A line for people while waves are held back, "" if none are."""
        if not self.holds_back(now) or self._wait == math.inf:
            return ""
        return (
            f"waiting {duration(self._wait)} until it is tried again: {NOT_LET_IN}; "
            "nothing is billed meanwhile"
        )
