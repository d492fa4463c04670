"""``povstorm live``: a job in the browser while it renders, and after; read from its storage."""

from __future__ import annotations

import html
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from povstorm_client.cluster import Cluster
from povstorm_client.commands.chosen_cluster import chosen_cluster
from povstorm_client.commands.job_argument import OptionalJobArgument
from povstorm_client.jobs.summary import LAST, named_job
from povstorm_client.storage import layout
from povstorm_client.storage.povstorm_home import home_folder
from povstorm_client.storage.private_files import create_private_file

if TYPE_CHECKING:
    from povstorm_client.live.page_server import LiveServer

# A browser that is open takes the report when the job has ended; longer nobody waits for one.
_LAST_SECONDS = 10.0

NoOpen = Annotated[bool, typer.Option("--no-open", help="Say the address, and open nothing")]


def live(
    context: typer.Context,
    job_id: OptionalJobArgument = None,
    port: Annotated[
        Optional[int],  # noqa: UP045 - typer reads it at run time
        typer.Option(min=1024, max=65535, help="Of the page; one of the job's own by default"),
    ] = None,
    no_open: NoOpen = False,
) -> None:
    """Show a job in the browser: its frames as they are done, what is left, who renders what.

    Until Ctrl-C, on this machine only. When the job has ended, the page is its report.
    """
    cluster = chosen_cluster(context)
    chosen = job_id or named_job(cluster.storage, LAST)
    with live_job(cluster, chosen, port=port) as server:
        print(f"page    {server.address.url}", flush=True)
        print("povstorm: the page is there until Ctrl-C", file=sys.stderr)
        if not no_open:
            open_page(server.address.url)
        threading.Event().wait()


@contextmanager
def live_beside(cluster: Cluster, job_id: str, *, no_open: bool = False) -> Iterator[None]:
    """The page of a job, in a browser, while the block runs it; for ``povstorm render --live``.

    no_open: only say where it is. At its end those who look are given the report.
    """
    with live_job(cluster, job_id) as server:
        print(f"povstorm: live page {server.address.url}", file=sys.stderr)
        if not no_open:
            open_page(server.address.url)
        try:
            yield
        finally:
            server.nobody_watches.wait(_LAST_SECONDS)


@contextmanager
def live_job(cluster: Cluster, job_id: str, *, port: int | None = None) -> Iterator[LiveServer]:
    """The server of a job's live page. Raises InputError if there is no such job."""
    # Not at the top: a web server and templates, which no other command needs.
    from povstorm_client.live.job_feed import JobFeed
    from povstorm_client.live.live_address import live_address
    from povstorm_client.live.live_server import live_server

    storage = cluster.storage
    feed = JobFeed.open(storage, job_id)
    address = live_address(home_folder(), storage.uri, job_id)
    with live_server(storage, feed, address, port=port) as server:
        yield server


def open_page(url: str) -> None:
    """Open the page, by a file that leads to it: what a program is started with, all users see."""
    page = home_folder() / layout.LIVE_PAGE / "open.html"
    page.unlink(missing_ok=True)
    create_private_file(page)
    address = html.escape(url)
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><title>povstorm</title><meta name="referrer" '
        f'content="no-referrer"><meta http-equiv="refresh" content="0;url={address}">'
        f'<a href="{address}">The live page</a>',
        encoding="utf-8",
    )
    if not webbrowser.open(page.as_uri()):
        print("no browser was found here: open that address in one", file=sys.stderr)
