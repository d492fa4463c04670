"""ChaosPlan: which faults a run meets, and when, drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import Literal

Where = Literal["local", "cloud"]
# What becomes of a Prefect server that a flow has started for itself: it is killed at once, does
# not answer before a few more frames are done, or is killed then.
ServerFault = Literal["never up", "late", "killed"]
SERVER_FAULTS: tuple[ServerFault, ...] = ("never up", "late", "killed")

FRAMES = 24
# So many pixels of AV1 in 24 frames are reckoned to take a core more than 15 s, from which on
# containers encode them (SegmentPace); of a picture without detail they take much less.
_SMALL, _LARGE = (64, 48), (1300, 964)
# The proxy's faults, with their probability for each call to the storage.
STORAGE_FAULTS = {
    "unavailable": 0.04,
    "too_many": 0.02,
    "reset": 0.03,
    "reset_after": 0.03,
    "slow": 0.03,
    "cut": 0.05,
}


@dataclass(frozen=True)
class ChaosPlan:
    """What goes wrong in one run.

    Each number in a list is a moment: when so many frames have a result. kill_povray,
    kill_container: a random one is killed (SIGKILL) each time. kill_flow, kill_client: the
    orchestrator or the client program is killed, and the job run again. cancel: the job is
    cancelled, and run again. fill_disk: the storage's disk is full for a few seconds.
    fail_calls: the next calls of the Cloud Run API are answered 503. twice: the job is run twice
    at the same time. stop_prefect, hold_prefect: seconds without a Prefect server, and with one
    that takes calls and does not answer.
    skew: how many seconds the clocks of Cloud Storage and Cloud Run are ahead.
    storage: the kinds of STORAGE_FAULTS. lose_answers: `run` calls that are accepted and answered
    503; refuse_runs: answered 429; run_tasks_twice: each task is delivered to two containers.
    own_servers: there is no Prefect server but what flows start, and these meet the faults in turn.
    lose_segment: something stored of a segment of the video is gone; kill_encoding: the
    orchestrator is killed. Both as soon as a segment is stored, before they are joined.
    by_containers: the video takes so long that containers encode its segments. kill_encoder: one of
    those is lost, before its first segment is stored. kill_joining: the orchestrator is killed when
    it joins the segments; kill_started: when its first wave renders, and no frame has a result.
    busy: other processes leave the job a tenth of the machine.
    move_tasks: each is moved to another machine while it renders. small_quota: two tasks have room
    at once, and what finds none is refused.
    """

    seed: int
    where: Where
    kill_povray: list[int] = field(default_factory=list)
    kill_container: list[int] = field(default_factory=list)
    kill_flow: list[int] = field(default_factory=list)
    kill_client: list[int] = field(default_factory=list)
    cancel: list[int] = field(default_factory=list)
    fill_disk: list[int] = field(default_factory=list)
    fail_calls: list[int] = field(default_factory=list)
    twice: bool = False
    stop_prefect: float = 0.0
    hold_prefect: float = 0.0
    skew: int = 0
    storage: list[str] = field(default_factory=list)
    lose_answers: int = 0
    refuse_runs: int = 0
    run_tasks_twice: bool = False
    own_servers: list[ServerFault] = field(default_factory=list)
    lose_segment: bool = False
    kill_encoding: bool = False
    busy: bool = False
    move_tasks: bool = False
    small_quota: bool = False
    by_containers: bool = False
    kill_encoder: bool = False
    kill_joining: bool = False
    kill_started: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Of the images, in pixels: a video is encoded by containers if it has enough of them."""
        return _LARGE if self.by_containers else _SMALL

    @property
    def codec(self) -> str | None:
        """The video's; None is its format's own."""
        return "av1" if self.by_containers else None

    def __str__(self) -> str:
        """The seed, and only what goes wrong."""
        faults = {name: value for name, value in asdict(self).items() if value and name != "seed"}
        return f"seed {self.seed}: {faults.pop('where')}, " + ", ".join(
            f"{name} {value}" for name, value in faults.items()
        )


def draw_plan(seed: int, where: Where | None = None) -> ChaosPlan:
    """The plan of a seed; the same seed gives the same plan."""
    generator = random.Random(seed)  # noqa: S311 - no secret
    where = where or generator.choice(("local", "cloud"))

    def moments(most: int) -> list[int]:
        return sorted(generator.randint(1, FRAMES - 4) for _ in range(generator.randint(0, most)))

    def maybe(probability: float) -> bool:
        return generator.random() < probability

    faults = {
        "kill_povray": moments(3),
        "kill_flow": moments(1),
        "kill_client": moments(1),
        "cancel": moments(1) if maybe(0.4) else [],
        "twice": maybe(0.3),
        "stop_prefect": generator.choice((0.0, 0.0, 20.0)),
        "hold_prefect": generator.choice((0.0, 0.0, 10.0)),
    }
    if where == "local":
        faults["fill_disk"] = moments(1)
    else:
        faults |= {
            "kill_container": moments(2),
            "fail_calls": moments(2),
            "storage": generator.sample(sorted(STORAGE_FAULTS), generator.randint(0, 4)),
            "lose_answers": generator.randint(0, 1),
            "refuse_runs": generator.randint(0, 1),
            "run_tasks_twice": maybe(0.2),
            "skew": generator.choice((0, 0, -3600, 3600, 100_000)),
        }
    if where == "local" and maybe(0.4):
        count = generator.randint(1, 3)
        faults |= {
            "own_servers": [generator.choice(SERVER_FAULTS) for _ in range(count)],
            "stop_prefect": 0.0,
            "hold_prefect": 0.0,
        }
    faults["busy"] = maybe(0.15)
    if where == "cloud":
        faults |= {"move_tasks": maybe(0.3), "small_quota": maybe(0.3)}
    faults |= {"lose_segment": maybe(0.3), "kill_encoding": maybe(0.3)}
    if where == "cloud":
        faults |= {"kill_started": maybe(0.3), "kill_joining": maybe(0.3)}
        by_containers = maybe(0.2)
        faults |= {"by_containers": by_containers, "kill_encoder": by_containers and maybe(0.5)}
    return ChaosPlan(seed, where, **faults)
