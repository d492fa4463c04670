"""What a container made of processes holds of memory, as Cloud Run counts it.

A container's files are memory too: https://cloud.google.com/run/docs/container-contract#filesystem.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import psutil

_OWN = re.compile(rb"^Rss(?:Anon|Shmem):\s+(\d+) kB", re.MULTILINE)


def family(pid: int) -> list[psutil.Process]:
    """A container's first process and all that it started; nothing if it has ended."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def held_mib(processes: Iterable[psutil.Process], home: str) -> float:
    """The MiB that the processes do not share with others', and the files below the folder have."""
    kib = 0
    for process in processes:
        try:
            status = Path(f"/proc/{process.pid}/status").read_bytes()
        except OSError:
            continue  # it has ended
        kib += sum(int(size) for size in _OWN.findall(status))
    return kib / 1024 + _file_bytes(home) / 2**20


def _file_bytes(folder: str) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118
            except OSError:
                continue  # it was deleted
    return size
