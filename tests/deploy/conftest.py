"""A person's machine with a checkout, and a Google Cloud project that nothing is in yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from povstorm_client.launch.prefect_home import migrated_database
from tests.chaos.prefect_server import PrefectServer
from tests.deploy.typed_page import Shell
from tests.e2e.granted_cloud import GrantedCloud
from tests.terraform.conftest import provider
from tests.terraform.stub_provider import StubProvider

__all__ = ["provider"]

ROOT = Path(__file__).parents[2]
# As in the page.
PROJECT, OWNER = "my-project", "user:you@example.com"
_PROGRAMS = ("gcloud", "prefect", "terraform")
# Three small frames of the page's example are as good as 48.
_SHORTER = {"Width=320": "Width=64", "Height=240": "Height=48", "Final_Frame=48": "Final_Frame=3"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrantedCloud]:
    with GrantedCloud(tmp_path_factory.mktemp("cloud"), PROJECT, OWNER) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A Prefect server that only who types the pages uses."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@contextmanager
def prefect_server(folder: Path, *options: str, **environment: str) -> Iterator[PrefectServer]:
    """A server with its database in the folder, which several may share."""
    database = folder / "prefect.db"
    if not database.exists():
        shutil.copy(migrated_database(), database)
    url = f"sqlite+aiosqlite:///{database}"
    variables = {"PREFECT_API_DATABASE_CONNECTION_URL": url, "PREFECT_HOME": str(folder)}
    with PrefectServer(*options, environment={**variables, **environment}) as server:
        yield server


@pytest.fixture(scope="module")
def shell(
    tmp_path_factory: pytest.TempPathFactory,
    cloud: GrantedCloud,
    server: PrefectServer,
    provider: StubProvider,
) -> Iterator[Shell]:
    """In a checkout; nobody is logged in anywhere. What terraform makes is there at once."""
    folder = tmp_path_factory.mktemp("machine")
    checkout = folder / "povstorm"
    _check_out(checkout)
    environment = {
        **cloud.environment,
        **provider.reattach,
        "PATH": f"{_programs(folder / 'bin')}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        "REAL_TERRAFORM": str(shutil.which("terraform")),
        "TF_CLI_ARGS": "-no-color",
        "TF_CLI_ARGS_apply": "-input=false -auto-approve",
        "TF_CLI_ARGS_destroy": "-input=false -auto-approve",
        "CHECKPOINT_DISABLE": "1",
        "GOOGLE_PROJECT_FOLDER": str(cloud.folder),
        "GOOGLE_STAND_IN_USER": OWNER,
        "PREFECT_HOME": str(folder / "home" / ".prefect"),
        "PREFECT_API_URL": server.url,
        "PREFECT_CLOUD_STAND_IN": server.url,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "POVSTORM_HOME": str(folder / "home" / "povstorm"),
    }
    (folder / "home").mkdir()
    address = server.url.removeprefix("http://").removesuffix("/api")
    with Shell(checkout, environment, {"my-prefect-server:4200": address}) as shell:
        provider.google = cloud.follow
        try:
            yield shell
        finally:
            provider.google = None


def _check_out(folder: Path) -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        if name.startswith(("tests/", "docs/")):
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    scene = folder / "examples" / "spiral" / "spiral.ini"
    text = scene.read_text(encoding="utf-8")
    for whole, part in _SHORTER.items():
        assert whole in text
        text = text.replace(whole, part)
    scene.write_text(text, encoding="utf-8")


def _programs(folder: Path) -> Path:
    folder.mkdir()
    for name in _PROGRAMS:
        program = folder / name
        program.write_text(
            f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -P -m '
            f'tests.deploy.programs.{name} "$@"\n'
        )
        program.chmod(0o755)
    return folder
