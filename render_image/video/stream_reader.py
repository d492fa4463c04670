"""StreamReader: takes a video piece by piece as ffmpeg writes it, and gives its frames' data.

FragmentReader and MatroskaStream say what lies between those.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from povstorm_client.errors import VideoError


class StreamReader(ABC):
    """_unread: what has come of what is next; _data_bytes: of data, given so far."""

    # In errors: ffmpeg's …
    _what: ClassVar[str]

    def __init__(self) -> None:
        self._unread = bytearray()
        self._data_left = 0
        self._data_bytes = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take the next piece of the stream; gives the frames' data in it.

        Raises VideoError for what is no such stream.
        """
        self._unread += piece
        try:
            while self._unread:
                if self._data_left:
                    data = bytes(self._unread[: self._data_left])
                    del self._unread[: len(data)]
                    self._data_left -= len(data)
                    self._data_bytes += len(data)
                    yield data
                elif not self._take_next():
                    return
        except (ValueError, struct.error) as error:
            raise self._not_understood(error) from error

    @abstractmethod
    def _take_next(self) -> bool:
        """Take what comes next, if enough of it is there; of data it says how long they are.

        Raises ValueError or struct.error for what should not come.
        """

    def _not_understood(self, error: Exception) -> VideoError:
        return VideoError(
            f"ffmpeg's {self._what} is not what it should be ({error}): it is not kept; "
            "reinstall ffmpeg"
        )
