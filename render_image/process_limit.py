"""ProcessLimit: how many POV-Ray processes may run at once, from CPU use and free memory.

Pure arithmetic, without clocks or processes, so that it can be tested; ProcessGate feeds it.
"""

from __future__ import annotations

import sys

# Measured on POV-Ray 3.7: heavy frames are fastest at 2 processes a core, light ones at 4 to 6.
_FEWEST_PER_CORE = 2
_FIRST_PER_CORE = 4
_MOST_PER_CORE = 8
# Without waits a process keeps a core busy while it computes; these work while others start, end
# and have their frames stored, which takes a light frame a fifth of its time (measured).
_MOST_BESIDE_CORES = 2
# Above this share of busy time more processes only wait for each other.
_BUSY_ENOUGH = 0.95
# How far one step goes towards what the measurement asks for.
_STEP = 0.5
# What is left to everything else on the machine.
_RESERVED_BYTES = 512 * 1024 * 1024
# What a process is expected to need before any has been seen: a light scene's with its libraries.
_FIRST_GUESS_BYTES = 64 * 1024 * 1024


class ProcessLimit:
    """The current limit, at most ``most``; starts in the middle, until there are measurements.

    sleeps: whether POV-Ray has its long waits (povray_waits.py), and so leaves cores idle. at_most:
    processes for which there is room, if that is known; None if not.
    """

    def __init__(self, core_count: int, *, sleeps: bool = True, at_most: int | None = None) -> None:
        beside = min(_MOST_BESIDE_CORES, core_count)
        # A single core is a container's, whose last frames end the sooner the fewer are in work.
        fewest = core_count * _FEWEST_PER_CORE if sleeps else core_count + beside - 1
        first = core_count * _FIRST_PER_CORE if sleeps else core_count + beside
        self.most = min(core_count * _MOST_PER_CORE, at_most or sys.maxsize)
        self._fewest = min(fewest, self.most)
        self._wanted = float(min(first, self.most))
        self._peak_bytes = _FIRST_GUESS_BYTES

    @property
    def processes(self) -> int:
        """How many processes may run at once as far as CPU time goes."""
        return round(self._wanted)

    def adapt(self, running: int, busy: float) -> None:
        """Take a measurement: ``running`` processes kept the share ``busy`` (0 to 1) of the CPU.

        Processes that sleep most of the time leave the CPU idle, so as many are wanted as would
        fill it at that rate. A busy machine lowers the limit, down to the fewest.
        """
        asked = running * _BUSY_ENOUGH / max(busy, 0.05)
        if busy >= _BUSY_ENOUGH:
            asked = min(asked, self._wanted - 1)
        elif running < self.processes:
            # The limit was not used up (frames were starting or ending), so it proves nothing.
            asked = max(asked, self._wanted)
        self._wanted += (asked - self._wanted) * _STEP
        self._wanted = min(max(self._wanted, self._fewest), self.most)

    def saw_process(self, peak_bytes: int) -> None:
        """Take note of the peak memory of a process that ended."""
        self._peak_bytes = max(self._peak_bytes, peak_bytes)

    def allows(self, running: int, available_bytes: int, *, in_work: int = 0) -> bool:
        """Whether one more process may start; one always may, or nothing would ever end.

        in_work: frames that hold memory, those that are being stored among them; they end anyway.
        """
        if not (running or in_work):
            return True
        fits = available_bytes - _RESERVED_BYTES >= self._peak_bytes
        return running < self.processes and fits
