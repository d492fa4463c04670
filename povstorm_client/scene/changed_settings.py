"""RenderSettings changed by POV-Ray's own options, as typed after ``povstorm frame JOB 42``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from povstorm_client.errors import InputError
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.scene.ini import PovraySettings, read_switches

_DEFAULT_ANTIALIAS = 0.3
# POV-Ray's key → the setting's name; what is not here, nor an option to hand on, is refused.
_WHOLE = {
    "width": "width",
    "height": "height",
    "quality": "quality",
    "sampling_method": "antialias_method",
    "antialias_depth": "antialias_depth",
}
_REAL = {"antialias_gamma": "antialias_gamma", "jitter_amount": "jitter"}
_KNOWN = {*_WHOLE, *_REAL, "antialias_threshold", "antialias", "jitter"}


def changed_settings(settings: RenderSettings, switches: Iterable[str]) -> RenderSettings:
    """The settings with POV-Ray options such as ``+W320`` or ``-A`` over them.

    Raises InputError for options that POV-Ray does not have, and for those that decide more than
    how the same frame of the same scene is drawn.
    """
    said = PovraySettings()
    read_switches(said, switches)
    others = [*said.values, *(said.numbers.keys() | said.switched.keys()) - _KNOWN]
    if others or said.library_paths:
        raise InputError(
            f"{' and '.join(sorted(others) or ['a library path'])} cannot be changed here: only "
            "how the frame is drawn (+W +H +A +Q …); the command is in rerun.sh to be edited"
        )
    changes: dict[str, Any] = {}
    for key, name in _WHOLE.items():
        if key in said.numbers:
            changes[name] = int(said.numbers[key])
    for key, name in _REAL.items():
        if key in said.numbers:
            changes[name] = said.numbers[key]
    if said.switched.get("jitter") is False:
        changes["jitter"] = 0.0
    if said.switched.get("antialias") is False:
        changes["antialias"] = None
    elif said.switched.get("antialias"):
        usual = _DEFAULT_ANTIALIAS if settings.antialias is None else settings.antialias
        changes["antialias"] = said.numbers.get("antialias_threshold", usual)
    return replace(settings, **changes, options=_with(settings.options, said.options.values()))


def _with(options: Iterable[str], said: Collection[str]) -> tuple[str, ...]:
    """The options with those said over them: of Declares of one name POV-Ray keeps the first."""
    declared = [option for option in said if option.startswith("Declare=")]
    others = [option for option in said if not option.startswith("Declare=")]
    return (*declared, *options, *others)
