"""ToneMapping: how an image without bounds becomes one that screens can show.

OpenEXR and Radiance images (+FE, +FH) hold linear light. Previews and video show each of their
colours by one curve; the images stay as they are. developing.py applies it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from povstorm_client.argument_checks import check_number, check_type
from povstorm_client.errors import FieldError

ToneMap = Literal["clip", "reinhard", "hable"]
TONE_MAPS: tuple[str, ...] = get_args(ToneMap)
_MOST_STOPS = 32
# Hable's curve (J. Hable, "Filmic Tonemapping Operators", 2010), and the white that it maps to 1.
_A, _B, _C, _D, _E, _F, _WHITE = 0.15, 0.50, 0.10, 0.20, 0.02, 0.30, 11.2
_DEEP = 65_535


@dataclass(frozen=True, kw_only=True)
class ToneMapping:
    """tone_map: one of TONE_MAPS, of which clip keeps all below 1 and cuts off what is above.

    exposure: stops, each of which makes all twice as bright before that. Raises FieldError for
    values that cannot be meant.
    """

    tone_map: str = "clip"
    exposure: float = 0.0

    def __post_init__(self) -> None:
        check_type("tone_map", self.tone_map, str, "a text")
        if self.tone_map not in TONE_MAPS:
            raise FieldError(
                "tone_map", f"is {self.tone_map!r}: give one of {', '.join(TONE_MAPS)}"
            )
        check_number("exposure", self.exposure)
        if not -_MOST_STOPS <= self.exposure <= _MOST_STOPS:
            raise FieldError(
                "exposure",
                f"is {self.exposure:g}: give stops, from -{_MOST_STOPS} to {_MOST_STOPS}",
            )

    def __str__(self) -> str:
        stops = f", exposure {self.exposure:+g}" if self.exposure else ""
        return f"{self.tone_map}{stops}"

    def shown(self, light: float) -> float:
        """The part of full brightness, 0 to 1 in linear light, that shows so much of it."""
        if not light > 0:
            return 0.0
        bright = light * math.exp2(self.exposure)
        if math.isinf(bright):
            return 1.0
        if self.tone_map == "reinhard":
            return bright / (1 + bright)
        if self.tone_map == "hable":
            return min(1.0, _hable(bright) / _hable(_WHITE))
        return min(1.0, bright)


def _hable(light: float) -> float:
    above = light * (_A * light + _C * _B) + _D * _E
    return above / (light * (_A * light + _B) + _D * _F) - _E / _F


def srgb(linear: float) -> float:
    """Linear light, 0 to 1, as sRGB encodes it (IEC 61966-2-1)."""
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * math.pow(linear, 1 / 2.4) - 0.055


@functools.lru_cache(maxsize=8)
def tables(tone: ToneMapping | None, lights: Callable[[], Iterable[float]]) -> tuple[bytes, bytes]:
    """The upper and the lower byte of the 16-bit sRGB value that shows each of these lights.

    tone: None for transparency, which is as it is.
    """
    parts = (
        min(1.0, max(0.0, light)) if tone is None else srgb(tone.shown(light)) for light in lights()
    )
    values = [round(_DEEP * part) for part in parts]
    return bytes(value >> 8 for value in values), bytes(value & 255 for value in values)
