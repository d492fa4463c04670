"""Stored records are read by many threads at once."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import threading
from dataclasses import field, make_dataclass

from povstorm_client.storage.records import Count, Seconds, convert, decode

sys.setswitchinterval(1e-6)
failed = []
for _ in range(200):
    inner = make_dataclass("Inner", [("count", Count), ("seconds", Seconds)])
    outer = make_dataclass(
        "Outer", [("name", str), ("inner", inner), ("lines", list[str], field(default=None))]
    )
    together = threading.Barrier(8)

    def read(number):
        together.wait()
        data = {"name": "a", "inner": {"count": number, "seconds": 1.5}}
        text = b'{"name": "a", "inner": {"count": %d, "seconds": 1.5}}' % number
        found = decode(text, outer, "it") if number % 2 else convert(data, outer, "it")
        if found.inner.count != number:
            failed.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("failed" if failed else "read")
"""


def test_threads_that_read_records_of_one_kind_for_the_first_time_at_once_do_not_crash():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=300
    )

    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout == "read\n"
