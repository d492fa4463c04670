"""Run the stand-in as a server: ``python -m tests.emulators.cloud_run --rest-port 8080 …``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shlex
import signal

import grpc
import uvicorn

from tests.emulators.cloud_run.containers import ProcessContainers
from tests.emulators.cloud_run.grpc_services import add_services
from tests.emulators.cloud_run.knobs import Knobs
from tests.emulators.cloud_run.model import CloudRunModel
from tests.emulators.cloud_run.rest import rest_app


async def serve(options: argparse.Namespace) -> None:
    environment = dict(pair.split("=", 1) for pair in options.env)
    containers = ProcessContainers(shlex.split(options.command), environment)
    model = CloudRunModel(containers, Knobs(**json.loads(options.knobs)))
    grpc_server = grpc.aio.server()
    add_services(grpc_server, model)
    grpc_server.add_insecure_port(f"127.0.0.1:{options.grpc_port}")
    await grpc_server.start()
    config = uvicorn.Config(
        rest_app(model), host="127.0.0.1", port=options.rest_port, log_level="warning"
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    await server.serve()
    await model.close()
    await grpc_server.stop(None)


class _Server(uvicorn.Server):
    """uvicorn's own handlers would end the process before the containers are stopped."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rest-port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    parser.add_argument("--command", required=True, help="what a container runs, before its args")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--knobs", default="{}", help="JSON, see knobs.py")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
