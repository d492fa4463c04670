"""Label selectors of the v1 API: ``a=b, c!=d, e in (f, g), h notIn (i), j``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.emulators.cloud_run.api_error import invalid

_SET = re.compile(r"(?P<key>[^\s,=!()]+)\s+(?P<verb>in|notin)\s+\((?P<values>[^)]*)\)", re.I)
_EQUALITY = re.compile(r"(?P<key>[^\s,=!()]+)\s*(?P<verb>==|=|!=)\s*(?P<value>[^\s,=!()]*)")
_EXISTS = re.compile(r"(?P<not>!?)\s*(?P<key>[^\s,=!()]+)")
_SEPARATOR = re.compile(r"\s*,?\s*")


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether all terms of the selector hold; INVALID_ARGUMENT if it has no such form."""
    place, held = 0, True
    text = selector.strip()
    while place < len(text):
        if match := _SET.match(text, place):
            values = {value.strip() for value in match["values"].split(",")}
            inside = labels.get(match["key"]) in values
            held &= inside == (match["verb"].lower() == "in")
        elif match := _EQUALITY.match(text, place):
            equal = labels.get(match["key"]) == match["value"]
            held &= equal == (match["verb"] != "!=")
        elif match := _EXISTS.match(text, place):
            held &= (match["key"] in labels) != bool(match["not"])
        else:
            raise invalid("labelSelector", f"Invalid label selector '{selector}'")
        place = match.end()
        separator = _SEPARATOR.match(text, place)
        place = separator.end() if separator else place
    return held
