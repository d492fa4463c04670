"""Parse an animation's frames in POV-Ray's own loop, and note what they do with files.

povstorm_client/launch/trace_process.py runs it as a child process: ``python -P -m
render_image.trace_scene FOLDER``, with the request in FOLDER/request.json, and reads
FOLDER/trace.json and the files that it names. Where the request says so, parts of the frames are
parsed at once, and all in their order if that shows anything that one could leave to a later one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from povstorm_client.errors import PovstormError, ToolError
from povstorm_client.frames.render_settings import RenderSettings
from povstorm_client.programs.sandbox_mode import sandbox_mode_here
from povstorm_client.programs.tools import require_povray
from povstorm_client.terminal import print_only_text
from render_image.sandbox import open_sandbox
from render_image.trace_accesses import Accesses
from render_image.trace_loop import (
    LIBRARY,
    MOST_FAILURES,
    Animation,
    Loop,
    NotAPartError,
    run_loop,
)

_FAILED = 1


def main(folder: Path) -> int:
    """Trace what the folder's request asks for; returns 0, or 1 after the reason was printed."""
    print_only_text()
    try:
        request = json.loads((folder / "request.json").read_text("utf-8"))
        asyncio.run(_trace(request, folder))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except PovstormError as error:
        print(error, file=sys.stderr)
        return _FAILED
    return 0


async def _trace(request: Mapping[str, object], folder: Path) -> None:
    povray = await asyncio.to_thread(require_povray)
    if not LIBRARY.is_file():
        raise ToolError(
            "POV-Ray cannot be watched without a C compiler: apt install tcc, then make setup"
        )
    animation = Animation(
        RenderSettings.from_json(dict(request["settings"])),  # type: ignore[call-overload]
        Path(str(request["scene"])),
        _paths(request["roots"]),
        _range(request["frames"]),
        _paths(request["beside"]),
        str(request["images"]),
        dict(request["aliases"]),  # type: ignore[call-overload]
        povray,
        await asyncio.to_thread(open_sandbox, povray, sandbox_mode_here()),
    )
    started = time.monotonic()
    loops = await _in_parts(animation, _split(animation.frames, int(str(request["parts"]))), folder)
    if loops is None:
        whole = folder / "whole"
        loops = [await run_loop(animation, animation.frames, whole, is_part=False)]
    names = (animation.places(), *(loop.named for loop in loops))
    at_home = {inside: path for known in names for path, inside in known.items()}
    accesses = Accesses(at_home, animation.scene)
    failures = take_in_order(loops, accesses)
    accesses.refuse_two_names()
    found = {
        "read": sorted(map(str, accesses.read)),
        "sought": sorted(map(str, accesses.sought)),
        "state": {
            str(frame): {str(path): str(kept) for path, kept in files.items()}
            for frame, files in accesses.state.items()
        },
        "paths": accesses.paths(),
        "uses": {str(frame): use for frame, use in accesses.uses().items()},
        "images": {str(frame): sorted(map(str, paths)) for frame, paths in accesses.images.items()},
        "failures": {str(frame): words for frame, words in failures.items()},
        "frames": accesses.frames_seen,
        "is_whole": accesses.frame == animation.frames[-1],
        "seconds": time.monotonic() - started,
    }
    (folder / "trace.json").write_text(json.dumps(found, ensure_ascii=True), "utf-8")


def _paths(texts: object) -> tuple[Path, ...]:
    return tuple(Path(str(text)) for text in texts)  # type: ignore[attr-defined]


def _range(frames: object) -> range:
    first, last, step = (int(number) for number in frames)  # type: ignore[attr-defined]
    return range(first, last + 1, step)


def _split(frames: range, parts: int) -> list[range]:
    """So many parts of the frames, one after another, of about one length."""
    ends = [len(frames) * part // parts for part in range(parts + 1)]
    return [frames[begin:end] for begin, end in itertools.pairwise(ends) if begin < end]


async def _in_parts(
    animation: Animation, parts: Sequence[range], folder: Path
) -> list[Loop] | None:
    """A loop over each part, all at once; None where one is not as it is after those before it.

    No frame can know of those before it as long as none writes: each finds what there is at home,
    and the loop's images before it, which povray_files.c has for parts too. So that no frame of any
    part wrote, says that none does when they are run one after another.
    """
    if len(parts) < 2:
        return None
    running = [
        asyncio.create_task(run_loop(animation, frames, folder / f"part-{number}", is_part=True))
        for number, frames in enumerate(parts)
    ]
    try:
        return list(await asyncio.gather(*running))
    except NotAPartError:
        return None
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def take_in_order(loops: Sequence[Loop], accesses: Accesses) -> dict[int, str]:
    """Add what loops noted, as one of all their frames; returns those that it breaks at → why."""
    failures: dict[int, str] = {}
    for run in itertools.chain.from_iterable(loop.runs for loop in loops):
        if len(failures) == MOST_FAILURES:
            break
        accesses.add(run.notes, run.frames)
        if run.broken is not None:
            failures[run.broken] = run.why
    return failures


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
