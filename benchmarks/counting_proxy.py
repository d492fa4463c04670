"""CountingProxy: passes a server's traffic on and counts the HTTP requests in it.

benchmarks/api_calls.py puts one before the Prefect server. Websockets pass too; what they carry is
not counted here.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter

_REQUEST = re.compile(rb"(?m)^(GET|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r$")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
_LONGEST_LINE = 4096


class CountingProxy:
    """A running proxy on a port of its own; calls counts by method and path, ids left out."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.calls: Counter[str] = Counter()
        self.port = 0

    def __enter__(self) -> CountingProxy:
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connect, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        await asyncio.gather(
            self._pass_on(reader, far_writer, count=True),
            self._pass_on(far_reader, writer, count=False),
        )

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool
    ) -> None:
        unseen = b""
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
                if count:
                    unseen += data
                    end = 0
                    for match in _REQUEST.finditer(unseen):
                        path = match[2].decode().partition("?")[0]
                        self.calls[f"{match[1].decode()} {_ID.sub('ID', path)}"] += 1
                        end = match.end()
                    unseen = unseen[max(end, len(unseen) - _LONGEST_LINE) :]
        except ConnectionError:
            pass  # either side went away; the other is told by the close
        finally:
            writer.close()
