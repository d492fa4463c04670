"""FrameQueue: the frames that an array task renders, one after another: its own, then others'.

How long frames take is known only afterwards, so the later half of each share is open: whoever
claims a frame of it first (wave_claim.py), its own task or one that has nothing left to do, renders
it. The container's entrypoint takes its frames from here.
"""

from __future__ import annotations

import asyncio
import secrets

from povstorm_client.cloud_run.wave_claim import Claim, claim, first_open
from povstorm_client.cloud_run.wave_share import WaveFrame, WaveShare, read_index, read_share
from povstorm_client.errors import RecordError
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage

# How many claims may be lost before a task takes all that others have left for claimed: one for so
# many frames of its own share, so that looking costs no frame more than a part of what storing it
# does. Whoever has frames left is in turn for as many tasks that are done as each of them looks.
_FRAMES_A_LOST_CLAIM = 10
# Multiples of it lie far from each other: https://en.wikipedia.org/wiki/Golden_angle
_GOLDEN = (5**0.5 - 1) / 2


class FrameQueue:
    """The frames of one task of a wave; several may wait for the next at once.

    again: whether an earlier container of the task was lost, whose claims go over to this one.
    """

    def __init__(
        self, storage: Storage, wave: str, task_index: int, share: WaveShare, *, again: bool = False
    ) -> None:
        self._storage = storage
        self._wave = wave
        self._me = Claim(task_index, secrets.token_hex(8))
        self._again = again
        self._own = list(enumerate(share.frames))
        self._own.reverse()
        self._first_open = first_open(len(share.frames))
        # A frame that has its container for itself may need all of the memory.
        self._others: dict[int, list[str]] | None = None if len(share.frames) > 1 else {}
        self._shares: dict[int, WaveShare] = {}
        self._behind: int | None = None
        self._most_lost = max(1, len(share.frames) // _FRAMES_A_LOST_CLAIM)
        self._claiming = asyncio.Lock()

    async def next_own(self) -> WaveFrame | None:
        """The next frame of the task's own share; None when none is left."""
        async with self._claiming:
            while self._own:
                place, frame = self._own.pop()
                if place < self._first_open or await asyncio.to_thread(self._take, frame):
                    return frame
            return None

    async def next_of_others(self) -> WaveFrame | None:
        """A frame that another task has not come to; None when there is none."""
        async with self._claiming:
            return await asyncio.to_thread(self._help)

    def _take(self, frame: WaveFrame) -> bool:
        holder = claim(self._storage, self._wave, frame.unit.work_unit_id, self._me)
        if holder.task != self._me.task:
            # Others take from the back, each frame in its turn: all behind this one have takers.
            self._own = []
        return holder == self._me or (self._again and holder.task == self._me.task)

    def _help(self) -> WaveFrame | None:
        """An open frame of a task that has many left, as far as a few looks can tell."""
        if self._others is None:
            index = read_index(self._storage, self._wave)
            self._others = {
                task: share[first_open(len(share)) :]
                for task, share in enumerate(index)
                if task != self._me.task
            }
        lost = 0
        while lost < self._most_lost and (
            left := [task for task in self._others if self._others[task]]
        ):
            # Tasks take their frames from the front, and others take them from the back.
            most = max(len(self._others[task]) for task in left)
            equals = [task for task in left if len(self._others[task]) == most]
            # Who has some left is asked again: it is the one that is behind.
            task = min(equals, key=self._distance) if self._behind is None else self._behind
            unit_id = self._others[task][-1]
            holder = claim(self._storage, self._wave, unit_id, self._me)
            # No sooner: whoever finds this one claimed counts on those behind it.
            self._others[task].pop()
            if holder == self._me:
                self._behind = task if self._others[task] else None
                return self._frame(task, unit_id)
            self._behind = None
            lost += 1
            if holder.task == task:
                self._others[task] = []  # it has come to its last
        self._others = {}
        return None

    def _distance(self, task: int) -> float:
        """By which a task that helps chooses: of equals each is then somebody's next."""
        assert self._others is not None  # noqa: S101 - for the type checker
        return (task - self._me.task) % (len(self._others) + 1) * _GOLDEN % 1.0

    def _frame(self, task: int, unit_id: str) -> WaveFrame:
        if task not in self._shares:
            self._shares[task] = read_share(self._storage, self._wave, task)
        for frame in self._shares[task].frames:
            if frame.unit.work_unit_id == unit_id:
                return frame
        index = layout.wave_index(self._wave)
        raise RecordError(f"{index} gives task {task} {unit_id!r}, which its share does not have")
