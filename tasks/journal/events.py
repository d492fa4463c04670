"""What a run's journal tells of: attempts and steps, begun and ended, what was logged, the end."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from povstorm_client.jobs.state import Phase
from tasks.steps.step import Step

# How a frame came to be rendered: by this run, from the cache, or by an earlier run of the job.
How = Literal["rendered", "cached", "stored"]


class _Event(msgspec.Struct, frozen=True, tag=True):
    """Something that happened; a line of the journal."""


class FrameBegun(_Event, frozen=True):
    """An attempt, from 1, to render a frame (a work unit's id) has begun."""

    unit: str
    attempt: int = 1


class FrameLogged(_Event, frozen=True):
    """Something was logged of a frame; level: as of logging."""

    unit: str
    level: int
    text: str


class FrameEnded(_Event, frozen=True):
    """A frame's attempt has ended; error: why it failed, "" if not; again: another follows.

    host: where it was rendered.
    """

    unit: str
    error: str = ""
    again: bool = False
    how: How = "rendered"
    host: str = ""


class StepBegun(_Event, frozen=True):
    """A step of the job, that is no frame, has begun."""

    step: Step


class StepEnded(_Event, frozen=True):
    """A step has ended; error: why it failed, "" if not.

    shown: what its log says, and after that, of make_report, its StoredReport's other fields.
    """

    step: Step
    error: str = ""
    shown: tuple[str, ...] = ()


class RunLogged(_Event, frozen=True):
    """Something was logged of the run; level: as of logging."""

    level: int
    text: str


class JobEnded(_Event, frozen=True):
    """The job has ended, so and for this reason."""

    phase: Phase
    message: str


Event: TypeAlias = (
    FrameBegun | FrameLogged | FrameEnded | StepBegun | StepEnded | RunLogged | JobEnded
)
