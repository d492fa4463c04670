"""RunningFlow: a render-job flow that was started, here or by a deployment; Job.run follows it."""

from __future__ import annotations

from typing import Protocol


class RunningFlow(Protocol):
    """A started flow."""

    @property
    def returncode(self) -> int | None:
        """0 for Completed, another number for any other end, None while it runs."""

    def wait(self, seconds: float) -> None:
        """Wait so long, or less if it is known to have ended before."""

    @property
    def log(self) -> str:
        """Where its output is, for people."""

    @property
    def last_words(self) -> str:
        """What it said last, for people: the reason if it died; a line, "" if it said nothing."""

    def stop(self) -> None:
        """Stop it, and wait until it has ended."""
