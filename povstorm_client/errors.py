"""Every error that povstorm raises on purpose; each message names the thing and the remedy.

All rooms raise these; the CLI prints them without a traceback.
"""

from typing import Literal


class PovstormError(Exception):
    """Base of the hierarchy: catch this to catch everything povstorm raises on purpose.

    finding, remedy: what is wrong, and what to do, where whoever raises it tells them apart; then
    the message is both. Who adds a remedy of its own to an error leaves it out where it has one.
    """

    def __init__(self, finding: str, *, remedy: str = "") -> None:
        super().__init__(f"{finding}: {remedy}" if remedy else finding)
        self.finding = finding
        self.remedy = remedy


class InputError(PovstormError):
    """What the user gave is wrong: a scene, an option, a path, a manifest."""


class FieldError(InputError):
    """A field, an argument or an option cannot have a value; ``what``: what is wrong with it.

    The message is the name, then ``what``. Who has asked for it by another name, as the command
    line has, says the same of that.
    """

    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"{field} {what}")
        self.field = field
        self.what = what


class ToolError(PovstormError):
    """A program that povstorm runs (POV-Ray, ffmpeg, ffprobe) is missing, too old or broken."""


class StorageError(PovstormError):
    """The storage does not hold, or would not take, what it should."""


class AccessError(StorageError):
    """The storage refuses who asks: the account lacks a right, or does not have it yet."""


class RecordError(StorageError):
    """A stored record (a manifest, a result, …) is not what it should be; it names the key."""


class RenderError(PovstormError):
    """One frame could not be rendered.

    ``retryable`` says whether another attempt can succeed (a lost process, a full disk) or not
    (a parse error). ``log_tail`` holds the last lines that POV-Ray wrote.
    """

    def __init__(self, message: str, *, retryable: bool, log_tail: str = "") -> None:
        super().__init__(message)
        self.retryable = retryable
        self.log_tail = log_tail

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n{self.log_tail}" if self.log_tail else message


class VideoError(PovstormError):
    """The video was not made, or is not what was meant.

    ``out_of_memory``: whether the kernel has most likely killed ffmpeg for want of it.
    """

    def __init__(self, message: str, *, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


class JobError(PovstormError):
    """A job ended without all of its frames; ``failed_frames`` lists their numbers."""

    def __init__(self, message: str, failed_frames: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.failed_frames = failed_frames


class CloudError(PovstormError):
    """Google Cloud did not do what was asked.

    ``kind``: "quota" (come back later), "room" (the same, or ask for less at once), "unclear" (no
    answer: it may have been done or not), or "refused" (asking again gives the same answer).
    """

    def __init__(self, message: str, kind: Literal["quota", "room", "unclear", "refused"]) -> None:
        super().__init__(message)
        self.kind = kind
