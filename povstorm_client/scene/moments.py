"""Which files a motion-blurred animation's frames use at all their moments; for read_scene.

A moment's clock is not its frame's own, so that a scene may do other things with files there. What
frames leave each other is what they leave at their own clocks, as without motion blur.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

from povstorm_client.errors import InputError
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.scene.trace import FrameUse, Trace, Tracer, TraceRequest


def at_all_moments(tracer: Tracer, motion_blur: int, shutter: float) -> Tracer:
    """A tracer that parses each frame at its own clock, and then at its other moments.

    motion_blur, shutter: as RenderSettings has them. It raises InputError where a moment reads what
    earlier frames leave and its frame's own clock does not, so that nobody has it.
    """

    def trace(request: TraceRequest) -> Trace:
        blurred = replace(request.settings, motion_blur=motion_blur, shutter=shutter)
        moments = [
            tracer(replace(request, settings=_shifted(request.settings, blurred.clock_shift(at))))
            for at in range(motion_blur)
        ]
        own = moments[0]
        whole = reduce(_with, moments)
        if not whole.images:
            _refuse_unseen_state(own, moments)
        # Of frames that go on from others the moments were seen after other moments, and not after
        # the own clocks that they are rendered after.
        return replace(whole, uses={}) if whole.state else whole

    return trace


def _shifted(settings: RenderSettings, shift: float) -> RenderSettings:
    return replace(
        settings,
        initial_clock=settings.initial_clock + shift,
        final_clock=settings.final_clock + shift,
    )


def _with(one: Trace, other: Trace) -> Trace:
    """What both show; the first one's state."""
    return Trace(
        read=one.read | other.read,
        sought=one.sought | other.sought,
        uses={
            frame: _together(one.uses[frame], other.uses[frame])
            for frame in one.uses.keys() & other.uses.keys()
        },
        state=one.state,
        images={
            frame: one.images.get(frame, frozenset()) | other.images.get(frame, frozenset())
            for frame in one.images.keys() | other.images.keys()
        },
        failures={**other.failures, **one.failures},
        frames=one.frames,
        seconds=one.seconds + other.seconds,
        is_whole=one.is_whole and other.is_whole,
    )


def _together(one: FrameUse, other: FrameUse) -> FrameUse:
    read = one.read | other.read
    return FrameUse(read, (one.missing | other.missing) - read)


def _refuse_unseen_state(own: Trace, moments: Sequence[Trace]) -> None:
    for at, moment in enumerate(moments, start=1):
        for frame, files in moment.state.items():
            unseen = files.keys() - own.state.get(frame, {}).keys()
            if unseen and frame not in own.failures:
                raise InputError(
                    f"with motion blur, frame {frame} reads {min(unseen)}, which earlier frames "
                    f"write, at moment {at} of {len(moments)} and not at its own clock, so that "
                    "what it would find there is not known: have the scene open it in each frame "
                    "whatever the clock, or leave out --motion-blur"
                )
