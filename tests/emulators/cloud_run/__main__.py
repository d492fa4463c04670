"""Run the stand-in as a server: ``python -m tests.emulators.cloud_run --rest-port 8080 …``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn

from tests.emulators.cloud_run import enums
from tests.emulators.cloud_run.knobs import Knobs
from tests.emulators.cloud_run.model import CloudRunModel
from tests.emulators.cloud_run.process_containers import GRACE_SECONDS, ProcessContainers
from tests.emulators.cloud_run.rest import rest_app
from tests.emulators.iam.project import GoogleProject


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT, then stop all containers."""
    enums.know(json.loads(options.enum_numbers))
    knobs = Knobs()
    knobs.change(json.loads(options.knobs))
    project = GoogleProject(Path(options.project)) if options.project else None
    containers = ProcessContainers(
        shlex.split(options.command),
        dict(pair.split("=", 1) for pair in options.env),
        engine=shlex.split(options.engine),
        grace_seconds=options.grace_seconds,
        project=project,
    )
    model = CloudRunModel(containers, knobs)
    config = uvicorn.Config(
        rest_app(model, project),
        host="127.0.0.1",
        port=options.rest_port,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    if options.until_input_ends:
        loop.add_reader(sys.stdin.fileno(), _read_input, loop, server)
    async with _over_grpc(options.grpc_port, model, project):
        await server.serve()
        await model.close()


@contextlib.asynccontextmanager
async def _over_grpc(
    port: int | None, model: CloudRunModel, project: GoogleProject | None
) -> AsyncIterator[None]:
    """Serve over gRPC too in the block, where there is a port for it."""
    if port is None:
        yield
        return
    # Google's clients, of which it has its messages, take longer to import than all else here.
    import grpc

    from tests.emulators.cloud_run.grpc_services import add_services

    server = grpc.aio.server()
    add_services(server, model, project)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    yield
    await server.stop(None)


def _read_input(loop: asyncio.AbstractEventLoop, server: uvicorn.Server) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn's own handlers would end the process before the containers are stopped."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rest-port", type=int, required=True, metavar="PORT")
    parser.add_argument("--grpc-port", type=int, metavar="PORT", help="without it, REST only")
    parser.add_argument(
        "--command",
        required=True,
        help="the image's entrypoint as a program of this machine; or a container runtime's "
        "command, in which {image}, {memory}, {name} and {environment} are filled in",
    )
    parser.add_argument(
        "--engine", default="", help="the runtime up to its verb, to remove {name} with"
    )
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--project", default="", help="a GoogleProject's folder, by whose policy")
    parser.add_argument("--enum-numbers", default="{}", help="JSON, see enums.py")
    parser.add_argument("--knobs", default="{}", help="JSON, see knobs.py")
    parser.add_argument(
        "--grace-seconds", type=float, default=GRACE_SECONDS, help="from SIGTERM to SIGKILL"
    )
    parser.add_argument(
        "--until-input-ends", action="store_true", help="stop also when standard input is closed"
    )
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
