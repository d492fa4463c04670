"""Give a fresh Prefect home a database that is migrated already; FlowProcess does before it starts.

Where the user has no server, who tells Prefect of a run starts one, whose database lies in
Prefect's home. In a fresh home that is made by some hundred migrations: two thirds of a first
server's start (measured). They give the same empty database each time, so ``make setup`` has it
made once (scripts/make_venv calls make_migrated_database).
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from povstorm_client.errors import StorageError, ToolError
from povstorm_client.storage.private_files import create_private_file, make_private_folder

# Set, they say that the database is elsewhere, or that there is a server (Prefect 3, "Settings").
_ELSEWHERE = (
    "PREFECT_API_URL",
    "PREFECT_API_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
)
_MIGRATION_SECONDS = 600
# Variables of who tells Prefect of runs, and of the servers that they start.
PREFECT_DEFAULTS = {
    # Prefect's embedded server would call home, and log an error where it cannot.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # POV-Ray's output goes to the server's logs; laying it out for a terminal as well costs a
    # fifth of the recording's CPU time (measured), and nobody watches that.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
}


def migrated_database() -> Path:
    """Where this environment keeps the database, named by Prefect's version: migrations are its."""
    return Path(sys.prefix) / "share" / "povstorm" / f"prefect-{version('prefect')}.db"


def require_prefect_home() -> Path:
    """Prefect's home, made if there is none; StorageError if it cannot be written to.

    Prefect keeps its settings there, and the history of the servers that flows start.
    """
    # It asks servers too, and what that takes is not needed at each command's start.
    from povstorm_client.launch.prefect_server import prefect_home

    home = prefect_home()
    try:
        make_private_folder(home)
        tempfile.TemporaryFile(dir=home).close()
    except OSError as error:
        raise StorageError(
            f"Prefect's folder {home} cannot be written to ({error.strerror})",
            remedy="make it writable, or set PREFECT_HOME to another",
        ) from error
    return home


def seed_prefect_home(environment: Mapping[str, str] = os.environ) -> bool:
    """Copy the migrated database into a Prefect home that has none; whether it did.

    Nothing is replaced. Without a migrated database Prefect migrates one itself. Like one that the
    flow would make (FlowProcess sets its umask), it is its user's alone.
    """
    if any(environment.get(name) for name in _ELSEWHERE):
        return False
    home = Path(environment.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    database, source = home / "prefect.db", migrated_database()
    if database.exists() or not source.is_file():
        return False
    make_private_folder(home)
    with tempfile.TemporaryDirectory(dir=home, prefix=".povstorm-") as folder:
        partial = Path(folder) / "prefect.db"
        create_private_file(partial)
        partial.write_bytes(source.read_bytes())
        try:
            # Unlike a rename it never replaces what another flow has put there meanwhile.
            os.link(partial, database)
        except FileExistsError:
            return False
    return True


def make_migrated_database() -> Path:
    """Have Prefect migrate a new database, and keep it; ToolError if it does not."""
    target = migrated_database()
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as home:
        environment = {name: text for name, text in os.environ.items() if name not in _ELSEWHERE}
        finished = subprocess.run(
            [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
            env={**environment, "PREFECT_HOME": home},
            capture_output=True,
            text=True,
            timeout=_MIGRATION_SECONDS,
            check=False,
        )
        if finished.returncode != 0:
            raise ToolError(
                f"Prefect cannot make its database: {(finished.stdout + finished.stderr)[-800:]}"
            )
        whole = Path(home) / "whole.db"
        with (
            closing(sqlite3.connect(Path(home) / "prefect.db")) as made,
            closing(sqlite3.connect(whole)) as copy,
        ):
            # One file, whatever of it was still in the write-ahead log.
            made.backup(copy)
        whole.replace(target)
    return target
