"""The server of the page of drafts; ``povstorm watch`` runs it. page_server.py says who may ask.

It knows one scene's drafts, and takes from a request nothing but a frame's number and the name of
its picture, which has to be one that is shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from povstorm_client.frames.result import FrameResult
from povstorm_client.live.event_stream import EventStream
from povstorm_client.live.live_address import LiveAddress, bound_socket, live_address
from povstorm_client.live.live_page import PageWords, html_page, page_files
from povstorm_client.live.page_server import (
    KEPT,
    PAGE_POLICY,
    LiveServer,
    found,
    is_number,
    serving,
    static_routes,
    text_response,
)
from povstorm_client.watch.draft_feed import DraftFeed
from povstorm_client.watch.draft_folder import DraftFolder


def scene_address(home: Path, here: str, scene: str) -> LiveAddress:
    """A scene's own address: a page that is open finds the next watch of it.

    home: $POVSTORM_HOME; here: where its user stands; scene: as it was given, whatever is in it.
    """
    digest = hashlib.sha256(scene.encode(errors="surrogateescape")).hexdigest()
    return live_address(home, here, f"watch-{digest[:12]}")


@contextmanager
def watch_server(
    feed: DraftFeed,
    folder: DraftFolder,
    address: LiveAddress,
    *,
    name: str,
    command: str,
    rate: float,
    port: int | None = None,
) -> Iterator[LiveServer]:
    """Serve a scene's drafts while the block runs, in a thread.

    name: the scene's; command: what renders it for real; rate: frames a second. port: instead of
    the address's own; where it is taken, any other. The server's address says.
    """
    with bound_socket(port or address.port) as bound:
        where = LiveAddress(address.job_id, address.token, bound.getsockname()[1])
        live = LiveServer(where, partial(EventStream, feed.changes, feed.sections))

        def page() -> str:
            units = feed.units
            words = _words(units[0].settings.width, units[0].settings.height, command)
            return html_page(name, units, rate, words, edition=feed.edition)

        feed.news = live.tell_soon
        with serving(live, bound, _routes(live, feed, folder, page)):
            yield live


def _routes(
    live: LiveServer, feed: DraftFeed, folder: DraftFolder, page: Callable[[], str]
) -> list[Route]:
    async def show(_request: Request) -> Response:
        return text_response(page(), "text/html", PAGE_POLICY)

    async def small(request: Request) -> Response:
        version, result = _shown(feed, request)
        data = await found(folder.small, version, result)
        return Response(data, media_type="image/webp", headers=KEPT)

    async def large(request: Request) -> Response:
        _, result = _shown(feed, request)
        data = await found(folder.image, result)
        return Response(data, media_type="image/png", headers=KEPT)

    async def look(request: Request) -> Response:
        frame = request.path_params["frame"]
        if not is_number(frame):
            raise HTTPException(404)
        feed.looked_at = int(frame)
        return Response(status_code=204)

    base = live.address.prefix
    return [
        Route(base, show),
        Route(f"{base}looking-at/{{frame}}", look),
        Route(f"{base}events", live.events),
        Route(f"{base}frames/{{frame}}/{{version}}.webp", small),
        Route(f"{base}frames/{{frame}}/{{version}}.png", large),
        *static_routes(base, page_files()),
    ]


def _shown(feed: DraftFeed, request: Request) -> tuple[str, FrameResult]:
    version = request.path_params["version"]
    result = feed.result(version)
    if result is None or request.path_params["frame"] != str(result.frame):
        raise HTTPException(404)
    return version, result


def _words(width: int, height: int, command: str) -> PageWords:
    return PageWords(
        kicker="povstorm watch",
        cached="as before",
        follow="Follow",
        follow_title="Go to a frame that a save changes",
        unanswered="Is `povstorm watch` still running?",
        without_scripts=command,
        footer="Drafts go when the command ends.",
        facts_title="The scene",
        facts=[
            ("Draft size", f"{width}x{height} pixels"),
            ("Render it for real", command),
        ],
    )
