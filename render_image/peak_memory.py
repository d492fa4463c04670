"""Peak memory of a child process, which ``wait4(2)`` alone does not tell.

The kernel's ru_maxrss of a child starts at the memory of the process that started it (it takes
over the high-water mark at exec), and the flow is larger than most POV-Ray processes. So the
child's own mark, VmHWM in proc(5), is read while it runs. process.run_process uses this.
"""

from __future__ import annotations

import asyncio
import re
import resource
from pathlib import Path

# A high-water mark never falls, so only a peak within the last interval can be missed; POV-Ray
# sleeps longer than that before it exits.
_SAMPLE_SECONDS = 0.2
_VM_HWM = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)


class PeakMemory:
    """Watches one process; sample() runs until it is cancelled."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._sampled_kib = 0

    async def sample(self) -> None:
        """Read the mark again and again."""
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            try:
                match = _VM_HWM.search(self._status.read_text())
            except OSError:
                return  # the process is gone, or this system has no /proc
            if match:
                self._sampled_kib = int(match[1])

    def peak_bytes(self, ru_maxrss_kib: int) -> int:
        """The peak, given the kernel's ru_maxrss (KiB): exact if that is above our own."""
        own_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if ru_maxrss_kib > own_kib or not self._sampled_kib:
            return ru_maxrss_kib * 1024
        return self._sampled_kib * 1024
