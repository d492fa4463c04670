"""What tells a job's variants apart, in words; the report and the live page show it."""

from __future__ import annotations

from collections.abc import Iterable

from povstorm_client.frames.work_unit import WorkUnit


def variant_words(units: Iterable[WorkUnit]) -> dict[str, str]:
    """Variant → what is declared in it, and not in all of them, e.g. ``"NumStones=3"``."""
    declared = {
        unit.settings.variant: [
            option for option in unit.settings.options if option.startswith("Declare=")
        ]
        for unit in units
        if unit.settings.variant
    }
    common = set.intersection(*map(set, declared.values())) if len(declared) > 1 else set()
    return {
        variant: ", ".join(
            option.removeprefix("Declare=") for option in options if option not in common
        )
        for variant, options in declared.items()
    }
