"""Variants: one scene rendered with several values of what it declares, as one job's frames.

``--declare NumStones=3..9`` stands for seven ``Declare=NumStones=…`` of POV-Ray's; read_scene loads
the scene with each, and puts together here what that gives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

from povstorm_client.errors import InputError
from povstorm_client.frames.ranges import check_frame_count
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.scene.load_scene import Scene
from povstorm_client.scene.trace import Trace

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?"
_PART = re.compile(rf"({_NUMBER})(?:\.\.({_NUMBER})(?:x({_NUMBER}))?)?", re.ASCII)
# The scene is read with each.
_MOST_VARIANTS = 10_000
# POV-Ray counts frames in 32 bits, and variants have the value before the frame's digits.
_MOST_NUMBER = 2**31 - 2


def read_variants(texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """POV-Ray's options for each variant, as ``Declare=NumStones=3``, in the values' order.

    Several names make all combinations; without any there is one variant, which declares nothing.

    texts: each ``NAME=VALUES``, where values are numbers and ranges, with commas between:
    ``3..9``, ``0..1x0.25`` (in steps), ``3,5,8``. Raises InputError for what is not of that form,
    for a name or a value that is there twice, and for more variants than a job may have.
    """
    choices: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.replace(" ", "").partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise InputError(
                f"--declare {text!r} is not understood: write NAME=3..9, NAME=0..1x0.25 or "
                "NAME=3,5,8"
            )
        if not values:
            raise InputError(f"--declare {text} has no values: write {name}=3..9 or {name}=3,5,8")
        if name in choices:
            raise InputError(f"--declare names {name} twice: give all its values in one")
        choices[name] = _values(text, values)
    _check_count(math.prod(map(len, choices.values())), " ".join(texts))
    return tuple(
        tuple(f"Declare={name}={value}" for name, value in zip(choices, values, strict=True))
        for values in product(*choices.values())
    )


def _values(text: str, values: str) -> list[str]:
    found: list[str] = []
    for part in values.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise InputError(
                f"--declare {text}: {part!r} is no number and no range: write 3..9, 0..1x0.25 or 5"
            )
        first = Decimal(match[1])
        last = first if match[2] is None else Decimal(match[2])
        step = Decimal(match[3] or 1)
        if step <= 0:
            raise InputError(
                f"--declare {text}: {part!r} has no values, as its step is not above 0: write "
                "FIRST..LASTxSTEP"
            )
        if last < first:
            raise InputError(
                f"--declare {text}: {part!r} has no values, as it counts down: write "
                f"{match[2]}..{match[1]}, or a list in the order that you want"
            )
        count = int((last - first) / step) + 1
        _check_count(len(found) + count, text)
        found += [f"{(first + step * index).normalize():f}" for index in range(count)]
    if len(set(found)) < len(found):
        raise InputError(f"--declare {text} has a value twice: leave one out")
    return found


def _check_count(count: int, text: str) -> None:
    if count > _MOST_VARIANTS:
        raise InputError(
            f"--declare {text} makes {count:,} variants of the scene, and a job has "
            f"{_MOST_VARIANTS:,} at most: give fewer values, as FIRST..LASTxSTEP with a larger "
            "step, or make several jobs of them"
        )


def merged_variants(scenes: Sequence[Scene]) -> Scene:
    """One scene of several that differ in what they declare, a variant each.

    Its frames are numbered by variant and frame: 307 is frame 7 of the third of nine. Raises
    InputError for more frames than a job may have.
    """
    check_frame_count(sum(len(scene.frames) for scene in scenes))
    digits = len(str(len(scenes)))
    own: dict[int, RenderSettings] = {}
    # What a scene has by its frames' numbers.
    by_frame: dict[str, Any] = {name: {} for name in ("state", "scenes", "uses", "links")}
    files: dict[str, Path] = {}
    for index, scene in enumerate(scenes, start=1):
        settings = replace(scene.settings, variant=f"{index:0{digits}d}")
        numbers = {frame: settings.number_of(frame) for frame in scene.frames}
        if max(numbers.values()) > _MOST_NUMBER:
            raise InputError(
                f"{len(scenes)} values of frames up to {settings.final_frame} are more numbers "
                f"than {_MOST_NUMBER:,}, to which POV-Ray counts: make several jobs of them"
            )
        own |= dict.fromkeys(numbers.values(), settings)
        for name in by_frame:
            found: Mapping[int, Any] = getattr(scene, name)
            by_frame[name] |= {numbers[frame]: found[frame] for frame in numbers if frame in found}
        for place, file in scene.files.items():
            if files.setdefault(place, file) != file:
                raise InputError(
                    f"with some values {place} is {files[place]}, with others {file}: make a job "
                    "of each value"
                )
    return replace(
        scenes[0],
        frames=tuple(own),
        files=files,
        warnings=tuple(dict.fromkeys(line for scene in scenes for line in scene.warnings)),
        trace=_together([scene.trace for scene in scenes if scene.trace is not None]),
        own_settings=own,
        **by_frame,
    )


def _together(traces: Sequence[Trace]) -> Trace | None:
    """What all runs took; what was found is in the scenes."""
    if not traces:
        return None
    return Trace(
        frames=sum(trace.frames for trace in traces),
        seconds=sum(trace.seconds for trace in traces),
    )
