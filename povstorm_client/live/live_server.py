"""The server of a job's live page; ``povstorm live`` and ``povstorm render --live`` run it.

It knows one job, and only reads the storage. page_server.py says who is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.live.event_stream import EventStream
from povstorm_client.live.job_feed import JobFeed
from povstorm_client.live.job_pictures import JobPictures, job_pictures
from povstorm_client.live.job_sections import job_sections
from povstorm_client.live.live_address import LiveAddress, bound_socket
from povstorm_client.live.live_page import job_page, page_files
from povstorm_client.live.page_server import (
    KEPT,
    PAGE_POLICY,
    LiveServer,
    Looks,
    found,
    is_number,
    serving,
    static_routes,
    text_response,
)
from povstorm_client.storage import layout
from povstorm_client.storage.content_types import content_type

if TYPE_CHECKING:
    from povstorm_client.storage.protocol import Storage

# The report says itself, by its hash, which script may run; it asks for nothing but images.
_REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


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
        job_pictures(storage, address.job_id, feed.manifest.settings.tone_mapping) as pictures,
    ):
        where = LiveAddress(address.job_id, address.token, bound.getsockname()[1])
        stream = partial(EventStream, feed.changes, partial(job_sections, feed))
        live = LiveServer(where, stream, Looks(feed.look, lambda: feed.poll_seconds))
        with serving(live, bound, _routes(live, storage, feed, pictures)):
            yield live


def _routes(
    live: LiveServer, storage: Storage, feed: JobFeed, pictures: JobPictures
) -> list[Route]:
    page = job_page(feed)
    job_id, ending = feed.manifest.job_id, feed.manifest.settings.video

    async def show(_request: Request) -> Response:
        await asyncio.to_thread(feed.look)
        if feed.outlook is not None and feed.outlook.has_report:
            return RedirectResponse("report.html", 302)
        return text_response(page, "text/html", PAGE_POLICY)

    async def report(_request: Request) -> Response:
        data = await found(storage.read, layout.report(job_id))
        return text_response(data, "text/html", _REPORT_POLICY)

    async def small(request: Request) -> Response:
        unit, version = _unit(feed, request.path_params["frame"]), request.path_params["version"]
        if not is_number(version):
            raise HTTPException(404)
        data = await found(pictures.small, unit, version)
        return Response(data, media_type="image/webp", headers=KEPT)

    async def large(request: Request) -> Response:
        unit = _unit(feed, request.path_params["frame"])
        data = await found(pictures.shown, unit)
        return Response(data, media_type="image/png", headers=KEPT)

    async def of_report(request: Request) -> Response:
        name = request.path_params["name"]
        unit = _unit(feed, name.removeprefix("frame_").rpartition(".")[0])
        if name != unit.image_name:
            raise HTTPException(404)
        data = await found(pictures.shown if name.endswith(".png") else pictures.image, unit)
        media_type = "image/png" if name.endswith(".png") else "application/octet-stream"
        return Response(data, media_type=media_type)

    async def video(_request: Request) -> Response:
        file = await found(pictures.video, str(ending))
        return FileResponse(file, media_type=content_type(file.name))

    base = live.address.prefix
    routes = [
        Route(base, show),
        Route(f"{base}report.html", report),
        Route(f"{base}events", live.events),
        Route(f"{base}frames/{{frame}}/{{version}}.webp", small),
        Route(f"{base}frames/{{frame}}/{{version}}.png", large),
        Route(f"{base}output/{{name}}", of_report),
        *static_routes(base, page_files()),
    ]
    if ending is not None:
        routes.append(Route(f"{base}video.{ending}", video))
    return routes


def _unit(feed: JobFeed, number: str) -> WorkUnit:
    """The work unit of a frame that a request names; 404 for anything else."""
    unit = feed.unit(int(number)) if is_number(number) else None
    if unit is None:
        raise HTTPException(404)
    return unit
