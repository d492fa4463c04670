"""What the servers of pages have in common: who is answered, what browsers are told, the thread.

A page that is open to a browser is an entrance. So its server listens on the loopback interface
alone; everything lies below a token that other users and pages do not know; the Host header has to
be its own, which keeps out names that lead here (DNS rebinding); what other pages ask for is
refused, and what is sent may be read by its own page only. It answers GET, and takes from a request
nothing but a frame's number and the version of its picture: no path, no key.

live_server.py serves a job's page with it, watch/watch_server.py the drafts of a scene.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from povstorm_client.errors import StorageError
from povstorm_client.live.live_address import HOST, LiveAddress

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from povstorm_client.live.event_stream import EventStream

P = ParamSpec("P")
R = TypeVar("R")

# A comment keeps proxies and browsers from giving a silent stream up.
_SILENCE_SECONDS = 15.0
# Browsers open six connections each; more than that many browsers nobody has.
_MOST_CONNECTIONS = 256
_START_SECONDS = 60.0
# Of a frame's number, and of a moment in milliseconds.
_MOST_DIGITS = 15
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# A person may have come by an old address; a browser shows an empty answer as an error of its own.
_REFUSALS = {
    403: "This page answers nobody but itself. Open its address by hand, or from the terminal.",
    404: "There is no such page here. `povstorm live` and `povstorm watch` say the address: each "
    "job and each scene has another.",
    405: "This page is to look at: nothing can be sent to it.",
    421: "This page is at 127.0.0.1 or localhost, under no other name.",
}
# A picture's address has its version.
KEPT = {"cache-control": "private, max-age=31536000, immutable"}


@dataclass(frozen=True)
class Looks:
    """What has a page's server look for what is new: look(), and how many seconds to wait then."""

    look: Callable[[], None]
    pause: Callable[[], float]


class LiveServer:
    """A page's server at work.

    open_stream: makes the events for one more browser; looks: at whose end browsers are told, while
    any is there; without it, who has news calls tell_soon. address: where the page is.
    nobody_watches: set while no browser waits for what is new.
    """

    def __init__(
        self,
        address: LiveAddress,
        open_stream: Callable[[], EventStream],
        looks: Looks | None = None,
    ) -> None:
        self.address = address
        self._open_stream = open_stream
        self._looks = looks
        self._watching = 0
        self._turns: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False
        self.nobody_watches = threading.Event()
        self.nobody_watches.set()

    @asynccontextmanager
    async def at_work(self, _app: Starlette) -> AsyncIterator[None]:
        """Look again and again while anybody watches."""
        self._loop = asyncio.get_running_loop()
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            self._loop = None
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    async def _look(self) -> None:
        while self._looks is not None:
            if self._watching:
                await asyncio.to_thread(self._looks.look)
                self._tell()
            await asyncio.sleep(self._looks.pause())

    def tell_soon(self) -> None:
        """Have all browsers told what is new; any thread may call it."""
        if (loop := self._loop) is not None:
            with suppress(RuntimeError):  # it has ended in this moment
                loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        for turn in self._turns:
            turn.set()

    async def close(self) -> None:
        """End all streams, so that the server can end."""
        self._closing = True
        self._tell()

    async def events(self, _request: Request) -> Response:
        """Server-sent events for one browser (https://html.spec.whatwg.org/#server-sent-events)."""
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def _events(self) -> AsyncIterator[str]:
        stream = self._open_stream()
        turn = asyncio.Event()
        self._turns.add(turn)
        self._watching += 1
        self.nobody_watches.clear()
        try:
            # The next one to connect need not wait for a look that is due in a while.
            if self._looks is not None and self._watching == 1:
                await asyncio.to_thread(self._looks.look)
            yield "retry: 1000\n\n"
            while not self._closing:
                # Before it is asked: what comes after that has it asked again.
                turn.clear()
                text = await asyncio.to_thread(stream.next)
                yield f"data: {text}\n\n" if text else ": still here\n\n"
                with suppress(TimeoutError):
                    await asyncio.wait_for(turn.wait(), _SILENCE_SECONDS)
        finally:
            self._turns.discard(turn)
            self._watching -= 1
            if not self._watching:
                self.nobody_watches.set()


@contextmanager
def serving(live: LiveServer, bound: socket.socket, routes: list[Route]) -> Iterator[None]:
    """Serve while the block runs, in a thread; the routes' paths begin with the address's prefix.

    bound: the listening socket at the server's address.
    """
    app = guarded(Starlette(routes=routes, lifespan=live.at_work), live.address)
    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config, live)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [bound]}, name="povstorm-live", daemon=True
    )
    thread.start()
    server.is_ready.wait(_START_SECONDS)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


class _Server(uvicorn.Server):
    """Tells when it answers, and has its streams end before it waits for them."""

    def __init__(self, config: uvicorn.Config, live: LiveServer) -> None:
        super().__init__(config)
        self.is_ready = threading.Event()
        self._live = live

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.is_ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._live.close()
        await super().shutdown(sockets=sockets)


def guarded(app: ASGIApp, address: LiveAddress) -> ASGIApp:
    """The app, for requests that its own page can have made, or a person who has its address."""
    hosts = {f"{name}:{address.port}".encode() for name in (HOST, "localhost")}
    origins = {b"http://" + host for host in hosts}
    secret = address.prefix.encode()

    def refusal(scope: Scope) -> int | None:
        headers = Headers(scope=scope)
        sent = {name: headers.get(name, "").encode("latin-1") for name in ("host", "origin")}
        if sent["host"] not in hosts:
            return 421
        if scope["path"] == "/favicon.ico":
            return 204  # browsers ask for one at the root
        given = scope["path"].encode(errors="surrogateescape")[: len(secret)]
        if not hmac.compare_digest(given, secret):
            return 404
        if scope["method"] not in ("GET", "HEAD"):
            return 405
        # https://www.w3.org/TR/fetch-metadata: a person may come from anywhere, a script may not.
        stranger = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        is_person = headers.get("sec-fetch-dest") == "document"
        if (stranger and not is_person) or (sent["origin"] and sent["origin"] not in origins):
            return 403
        return None

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        status = refusal(scope)
        words = _REFUSALS.get(status or 200)
        answer = app if status is None else Response(status_code=status)
        if words is not None:
            answer = PlainTextResponse(f"povstorm: {words}\n", status or 200)
        await answer(scope, receive, send_with_headers)

    return guarded


async def found(read: Callable[P, R], *what: P.args, **named: P.kwargs) -> R:
    """What a call that waits for the storage gives; 404 for what it does not have."""
    try:
        return await asyncio.to_thread(read, *what, **named)
    except StorageError as error:
        raise HTTPException(404, str(error)) from error


def is_number(text: str) -> bool:
    """Whether it is a number in ASCII digits, and none that is absurdly long."""
    return len(text) <= _MOST_DIGITS and text.isascii() and text.isdecimal()


def text_response(text: str | bytes, media_type: str, policy: str = "") -> Response:
    """A page, script or style sheet; policy: its content security policy."""
    headers = {"content-security-policy": policy} if policy else {}
    return Response(text, media_type=media_type, headers=headers)


def static_routes(base: str, files: Mapping[str, tuple[str, str]]) -> list[Route]:
    """A route for each of a page's own files: name → media type, text."""

    def answer(media_type: str, text: str) -> Callable[[Request], Response]:
        return lambda _request: text_response(text, media_type)

    return [Route(f"{base}{name}", answer(*files[name])) for name in files]
