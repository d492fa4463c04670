"""Errors that nobody expected, made into one frame's failure; for all that renders frames.

A scene, POV-Ray or a storage may say what a parser of ours was not made for. That may cost the
frame, never the others, and whoever mends it needs the traceback.
"""

from __future__ import annotations

import errno
import traceback

from povstorm_client.errors import InputError, RenderError
from povstorm_client.storage.disk_full import is_disk_full, temporary_words

# What the machine, not the frame, is short of: open files, processes, memory.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})


def unexpected_failure(error: Exception) -> RenderError:
    """The failure of a frame whose rendering raised ``error``, which is no RenderError.

    Retryable only where the machine ran short of something: whatever else it is would come again.
    """
    if isinstance(error, InputError):
        return RenderError(str(error), retryable=False)
    if is_disk_full(error):
        return RenderError(temporary_words(), retryable=True)
    if isinstance(error, OSError) and error.errno in _PASSING:
        return RenderError(
            f"this machine is short of something ({error}): make room, or render fewer at once",
            retryable=True,
        )
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return RenderError(
        f"povstorm itself failed on this frame ({said[:500]}): please report it with the frame's "
        "log, which has the traceback",
        retryable=False,
    )


def traceback_text(error: BaseException) -> str:
    """The traceback, as Python prints it."""
    return "".join(traceback.format_exception(error))
