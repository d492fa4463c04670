"""Plans of one fault each that `make chaos` always runs first: a draw may leave them out.

All on Google Cloud, where containers have the renderer's rights and no others.
"""

from __future__ import annotations

from tests.chaos.plan import ChaosPlan

NAMED = {
    "a wave was started before the flow died": ChaosPlan(1, "cloud", kill_started=True),
    "a container that encodes a segment is lost": ChaosPlan(
        2, "cloud", by_containers=True, kill_encoder=True
    ),
    "a stored segment is lost before it is joined": ChaosPlan(
        3, "cloud", by_containers=True, lose_segment=True
    ),
    "the flow is killed while segments are encoded": ChaosPlan(
        4, "cloud", by_containers=True, kill_encoding=True
    ),
    "the flow is killed between segments and join": ChaosPlan(
        5, "cloud", by_containers=True, kill_joining=True
    ),
}
