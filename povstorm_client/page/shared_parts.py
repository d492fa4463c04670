"""The files that both pages are made with; tasks/report puts them into its page, live/ serves them.

They come from this package alone, so they may stand in a page as they are.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def style() -> str:
    """The style sheet: colours by role for light and dark, type, player, sheet, plots, tables."""
    return (_HERE / "page.css").read_text("utf-8")


def player_script() -> str:
    """Defines framePlayer, by which a page shows frames by scrubber, keys and playing."""
    return (_HERE / "player.js").read_text("utf-8")
