"""The Prefect server that flows report to: which one is chosen, and whether it answers.

Looked at before a job is submitted, and by ``povstorm doctor``; Prefect itself, whose import takes
seconds, is not asked. Where no server is chosen, who tells Prefect of a
run starts one.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from povstorm_client.errors import InputError, ToolError
from povstorm_client.terminal import one_line

VARIABLE = "PREFECT_API_URL"
_ANSWER_SECONDS = 10.0
# Of who does not need the answer.
_SOON_SECONDS = 3.0
_SERVER = "prefect.server.api.server"
# Importing it makes up most of a start, and looking for garbage, of which there is none, a sixth of
# that (measured).
_PROGRAM = (
    f"import gc, uvicorn; gc.disable(); import {_SERVER}; gc.freeze(); gc.enable(); uvicorn.main()"
)
# What sockets, certificates, addresses and answers raise.
_UNANSWERED = (OSError, ValueError, http.client.HTTPException)


@dataclass(frozen=True)
class PrefectServer:
    """The url of a server's API, and where it was chosen, in words."""

    url: str
    chosen_by: str


def server_command(*python: str) -> list[str]:
    """Prefect's server in one process, as `prefect server start` has it; uvicorn's options follow.

    python: options of the interpreter. -P: a folder may have modules of any name.
    """
    return [sys.executable, "-P", *python, "-c", _PROGRAM, "--factory", f"{_SERVER}:create_app"]


def prefect_home() -> Path:
    """The folder of Prefect's profiles, and of the database of a server that a flow starts.

    InputError if it is in a home folder that is not known.
    """
    folder = Path(os.environ.get("PREFECT_HOME") or "~/.prefect")
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise InputError(
            f"{folder}, Prefect's folder, begins in a home folder that is not known: set HOME, or "
            "PREFECT_HOME to another folder"
        ) from error


def chosen_server() -> PrefectServer | None:
    """The server that the environment, this folder's settings or Prefect's profile name, or None.

    Raises InputError for a file of settings that cannot be read.
    """
    found = _chosen(VARIABLE)
    return PrefectServer(*found) if found else None


def chosen_setting(variable: str) -> str | None:
    """One of Prefect's settings, by its variable's name, where it is chosen; else None."""
    found = _chosen(variable)
    return found[0] if found else None


def _chosen(variable: str) -> tuple[str, str] | None:
    """A setting and where it was chosen, in words; None where it is not.

    In the order in which Prefect looks (https://docs.prefect.io/v3/concepts/settings-and-profiles).
    """
    if value := os.environ.get(variable):
        return value, f"the variable {variable}"
    dotenv = Path(".env")
    line = re.compile(rf"^\s*(?:export\s+)?{variable}\s*=\s*(.*?)\s*$", re.MULTILINE)
    if dotenv.is_file() and (found := line.search(_text(dotenv))):
        return found[1].strip("'\""), "the file .env in this folder"
    # PREFECT_API_URL is the table api's url.
    room, _, name = variable.removeprefix("PREFECT_").lower().partition("_")
    for file, keys in (("prefect.toml", (room,)), ("pyproject.toml", ("tool", "prefect", room))):
        if value := _table(Path(file), keys).get(name):
            return str(value), f"the file {file} in this folder"
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or prefect_home() / "profiles.toml")
    active = os.environ.get("PREFECT_PROFILE") or _table(path, ()).get("active")
    if value := _table(path, ("profiles", str(active))).get(variable):
        return str(value), f"Prefect's profile {active!r} in {path}"
    return None


def _table(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """A table of a TOML file; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        found: Any = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}, where Prefect looks for settings, is no TOML: {error}") from None
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise InputError(
            f"{path}, where Prefect looks for settings, cannot be read: {error.strerror}"
        ) from error


def require_server(on_silence: Callable[[str], None] | None = None) -> PrefectServer | None:
    """The chosen server, which answers; None where none is chosen.

    on_silence: for who can do without an answer for now. Is told, in words, of a server that takes
    the question and does not answer within a few seconds, as one with much to do.

    Raises ToolError, with the remedy, if it does not answer as a Prefect server does.
    """
    server = chosen_server()
    if server is None:
        return None
    if not re.match(r"https?://[^/]", server.url):
        raise ToolError(
            f"{server.url!r}, chosen by {server.chosen_by}, is no address of a Prefect server: it "
            "reads like http://127.0.0.1:4200/api"
        )
    try:
        seconds = _ANSWER_SECONDS if on_silence is None else _SOON_SECONDS
        answer = _get(f"{server.url.rstrip('/')}/health", seconds)
    except urllib.error.HTTPError as error:
        # It is there; what it refuses, or how Prefect Cloud calls it, is Prefect's to say.
        if error.code != 404 or "prefect.cloud" in server.url:
            return server
        answer = None
    except _UNANSWERED as error:
        # Of one that cannot be reached within the time urllib raises an URLError.
        if on_silence is not None and isinstance(error, TimeoutError):
            on_silence(
                f"the Prefect server at {server.url}, chosen by {server.chosen_by}, is there and "
                "does not answer yet"
            )
            return server
        reason = getattr(error, "reason", None) or error
        raise ToolError(
            f"the Prefect server at {server.url}, chosen by {server.chosen_by}, does not answer "
            f"({one_line(reason)})",
            remedy=f"start it (`prefect server start`), or unset {VARIABLE} to use the one that "
            "povstorm starts itself",
        ) from error
    if answer is not True:
        raise ToolError(
            f"what answers at {server.url}, chosen by {server.chosen_by}, is no Prefect API",
            remedy="its address ends in /api, such as http://127.0.0.1:4200/api",
        )
    return server


def answers(url: str) -> bool:
    """Whether a Prefect server's API answers there."""
    try:
        return _get(f"{url.rstrip('/')}/health") is True
    except _UNANSWERED:
        return False


def server_version(server: PrefectServer) -> str | None:
    """The version that a self-hosted server tells; None where it tells none (Prefect Cloud)."""
    try:
        found = _get(f"{server.url.rstrip('/')}/admin/version")
    except _UNANSWERED:
        return None
    return found if isinstance(found, str) else None


def _get(url: str, seconds: float = _ANSWER_SECONDS) -> Any:  # noqa: ANN401 - JSON
    request = urllib.request.Request(url, headers={"User-Agent": "povstorm"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
        try:
            return json.loads(answer.read(65536))
        except ValueError:
            return None
