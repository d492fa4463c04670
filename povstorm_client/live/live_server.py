"""The server of a job's live page; ``povstorm live`` and ``povstorm render --live`` run it.

A page that is open to a browser is an entrance. So it listens on the loopback interface alone;
everything lies below a token that other users and pages do not know; the Host header has to be its
own, which keeps out names that lead here (DNS rebinding); what other pages ask for is refused, and
what is sent may be read by this page only. It answers GET, knows one job, and takes from a request
nothing but a frame's number: no path, no key. It only reads the storage.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from povstorm_client.errors import StorageError
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.live.job_feed import JobFeed
from povstorm_client.live.job_pictures import JobPictures, job_pictures
from povstorm_client.live.live_address import HOST, LiveAddress, bound_socket
from povstorm_client.live.live_events import EventStream
from povstorm_client.live.live_page import live_files, live_page
from povstorm_client.storage import layout

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from povstorm_client.storage.protocol import Storage

P = ParamSpec("P")
R = TypeVar("R")

# A comment keeps proxies and browsers from giving a silent stream up.
_SILENCE_SECONDS = 15.0
# Browsers open six connections each; more than that many browsers nobody has.
_MOST_CONNECTIONS = 256
_START_SECONDS = 60.0
# Of a frame's number, and of a moment in milliseconds.
_MOST_DIGITS = 15
_VIDEOS = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "gif": "image/gif",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The report says itself, by its hash, which script may run; it asks for nothing but images.
_REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# A picture's address has its version.
_KEPT = {"cache-control": "private, max-age=31536000, immutable"}


class LiveServer:
    """A server at work.

    address: where its page is. nobody_watches: set while no browser waits for what is new.
    """

    def __init__(self, address: LiveAddress, feed: JobFeed) -> None:
        self.address = address
        self._feed = feed
        self._watching = 0
        self._turns: set[asyncio.Event] = set()
        self._closing = False
        self.nobody_watches = threading.Event()
        self.nobody_watches.set()

    @asynccontextmanager
    async def looking(self, _app: Starlette) -> AsyncIterator[None]:
        """Look at the job again and again while anybody watches."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    async def _look(self) -> None:
        while True:
            if self._watching:
                await asyncio.to_thread(self._feed.look)
                self._tell()
            await asyncio.sleep(self._feed.poll_seconds)

    def _tell(self) -> None:
        for turn in self._turns:
            turn.set()

    async def close(self) -> None:
        """End all streams, so that the server can end."""
        self._closing = True
        self._tell()

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events for one browser (https://html.spec.whatwg.org/#server-sent-events)."""
        stream = EventStream(self._feed)
        turn = asyncio.Event()
        self._turns.add(turn)
        self._watching += 1
        self.nobody_watches.clear()
        try:
            # The next one to connect need not wait for a look that is due in a while.
            if self._feed.outlook is None or self._watching == 1:
                await asyncio.to_thread(self._feed.look)
            yield "retry: 1000\n\n"
            while not self._closing:
                text = await asyncio.to_thread(stream.next)
                yield f"data: {text}\n\n" if text else ": still here\n\n"
                turn.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(turn.wait(), _SILENCE_SECONDS)
        finally:
            self._turns.discard(turn)
            self._watching -= 1
            if not self._watching:
                self.nobody_watches.set()


@contextmanager
def live_server(
    storage: Storage, feed: JobFeed, address: LiveAddress, *, port: int | None = None
) -> Iterator[LiveServer]:
    """Serve a job's live page while the block runs, in a thread.

    port: instead of the address's own, for which any other is taken where it cannot be had; the
    server's address says. Raises InputError if the port that is given cannot be.
    """
    with (
        bound_socket(port or address.port, only=port is not None) as bound,
        job_pictures(storage, address.job_id) as pictures,
    ):
        where = LiveAddress(address.job_id, address.token, bound.getsockname()[1])
        live = LiveServer(where, feed)
        config = uvicorn.Config(
            live_app(live, storage, feed, pictures),
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
            yield live
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


def live_app(live: LiveServer, storage: Storage, feed: JobFeed, pictures: JobPictures) -> ASGIApp:
    """What the server answers."""
    files = live_files()
    page = live_page(feed)
    job_id, ending = feed.manifest.job_id, feed.manifest.settings.video

    async def show(_request: Request) -> Response:
        await asyncio.to_thread(feed.look)
        if feed.outlook is not None and feed.outlook.has_report:
            return RedirectResponse("report.html", 302)
        return _text(page, "text/html", _PAGE_POLICY)

    async def report(_request: Request) -> Response:
        data = await _found(storage.read, layout.report(job_id))
        return _text(data, "text/html", _REPORT_POLICY)

    async def events(_request: Request) -> Response:
        return StreamingResponse(live.events(), media_type="text/event-stream")

    async def small(request: Request) -> Response:
        unit, version = _unit(feed, request.path_params["frame"]), request.path_params["version"]
        if not _is_number(version):
            raise HTTPException(404)
        data = await _found(pictures.small, unit, version)
        return Response(data, media_type="image/webp", headers=_KEPT)

    async def large(request: Request) -> Response:
        unit = _unit(feed, request.path_params["frame"])
        data = await _found(pictures.image, unit)
        return Response(data, media_type="image/png", headers=_KEPT)

    async def of_report(request: Request) -> Response:
        name = request.path_params["name"]
        unit = _unit(feed, name.removeprefix("frame_").removesuffix(".png"))
        if name != unit.image_name:
            raise HTTPException(404)
        return Response(await _found(pictures.image, unit), media_type="image/png")

    async def video(_request: Request) -> Response:
        file = await _found(pictures.video, str(ending))
        return FileResponse(file, media_type=_VIDEOS.get(str(ending)))

    def static(name: str) -> Callable[[Request], Response]:
        media_type, text = files[name]
        return lambda _request: _text(text, media_type)

    base = live.address.prefix
    routes = [
        Route(base, show),
        Route(f"{base}report.html", report),
        Route(f"{base}events", events),
        Route(f"{base}frames/{{frame}}/{{version}}.webp", small),
        Route(f"{base}frames/{{frame}}/{{version}}.png", large),
        Route(f"{base}output/{{name}}", of_report),
        *(Route(f"{base}{name}", static(name)) for name in files),
    ]
    if ending is not None:
        routes.append(Route(f"{base}video.{ending}", video))
    return _guarded(Starlette(routes=routes, lifespan=live.looking), live.address)


def _guarded(app: ASGIApp, address: LiveAddress) -> ASGIApp:
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
        answer = app if status is None else Response(status_code=status)
        await answer(scope, receive, send_with_headers)

    return guarded


async def _found(read: Callable[P, R], *what: P.args, **named: P.kwargs) -> R:
    """What a call that waits for the storage gives; 404 for what it does not have."""
    try:
        return await asyncio.to_thread(read, *what, **named)
    except StorageError as error:
        raise HTTPException(404, str(error)) from error


def _is_number(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and text.isascii() and text.isdecimal()


def _unit(feed: JobFeed, number: str) -> WorkUnit:
    """The work unit of a frame that a request names; 404 for anything else."""
    unit = feed.unit(int(number)) if _is_number(number) else None
    if unit is None:
        raise HTTPException(404)
    return unit


def _text(text: str | bytes, media_type: str, policy: str = "") -> Response:
    headers = {"content-security-policy": policy} if policy else {}
    return Response(text, media_type=media_type, headers=headers)
