"""Files of one name that several frames wrote to ./output: one of them is kept, and that is said.

The flow asks when all frames are rendered, Job when it saves them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.result import FrameResult


def folded(name: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def doubled_outputs(results: Iterable[FrameResult]) -> str:
    """Which names frames share, or have as a file and as a folder, in words; "" for none."""
    files: dict[str, dict[int, str]] = {}
    folders: dict[str, dict[int, str]] = {}
    for result in results:
        for name in result.extra_outputs if result.state == "rendered" else ():
            files.setdefault(folded(name), {})[result.frame] = name
            for folder in map(str, PurePosixPath(name).parents[:-1]):
                folders.setdefault(folded(folder), {})[result.frame] = folder
    shared = {key: by for key, by in files.items() if len(by | folders.get(key, {})) > 1}
    if not shared:
        return ""
    key = min(shared)
    by = shared[key] | folders.get(key, {})
    more = f", and {len(shared) - 1} more such names" if len(shared) > 1 else ""
    return (
        f"frames {frame_ranges(by)} all wrote output/{by[min(by)]}{more}: only what the last to "
        'end wrote is kept; put the frame number into the name, as in concat("log_", '
        'str(frame_number, -4, 0), ".txt")'
    )
