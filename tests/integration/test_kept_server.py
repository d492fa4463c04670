"""What is known of the kept Prefect server counts as long as its own process runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import InputError, StorageError
from povstorm_client.launch import kept_server
from povstorm_client.launch.kept_server import (
    KeptServer,
    running_server,
    server_for_flows,
    start_server,
    stop_server,
)

TOKEN = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def prefect_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    return tmp_path / "prefect"


@pytest.fixture
def kept(tmp_path: Path, prefect_home: Path) -> Iterator[KeptServer]:
    """A process with the server's mark, and its record."""
    words = ["-X", f"povstorm_server={TOKEN}", "-c", "print(flush=True); input()"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *words], **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        server = KeptServer(
            process.pid, kept_server._ticks(process.pid), TOKEN, 4200, 1.0, str(prefect_home)
        )
        record(tmp_path, asdict(server))
        yield server
        process.kill()


def record(home: Path, data: object) -> Path:
    path = home / "prefect_server" / "server.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_its_process_runs(kept: KeptServer, tmp_path: Path):
    assert running_server(tmp_path) == kept
    assert (kept.api, kept.ui) == ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200")


def test_where_there_is_no_record_none_runs(tmp_path: Path):
    assert running_server(tmp_path) is None
    assert stop_server(tmp_path) is None


@pytest.mark.parametrize("change", [{"token": "f" * 32}, {"ticks": 1}, {"pid": os.getpid()}])
def test_another_process_of_its_number_is_not_it_and_is_left_alone(
    change: dict[str, Any], kept: KeptServer, tmp_path: Path
):
    path = record(tmp_path, asdict(replace(kept, **change)))

    assert running_server(tmp_path) is None
    assert stop_server(tmp_path) is None
    assert not path.exists()
    assert kept.process is not None


def test_stopping_it_ends_its_process_and_forgets_it(kept: KeptServer, tmp_path: Path):
    assert stop_server(tmp_path) == kept

    assert kept.process is None
    assert running_server(tmp_path) is None
    assert not (tmp_path / "prefect_server/server.json").exists()


def test_it_is_started_once(kept: KeptServer, tmp_path: Path):
    assert start_server(tmp_path) == (kept, False)


@given(
    st.sampled_from(["pid", "ticks", "token", "port", "started", "home"]),
    st.one_of(st.none(), st.just(-1), st.just(0.5), st.just([]), st.text(max_size=3)),
)
def test_a_record_that_is_none_is_one_error_that_names_the_file(field: str, value: object):
    data = asdict(KeptServer(2, 1, TOKEN, 4200, 1.0, "/home")) | {field: value}
    try:
        kept_server._read(json.dumps(data).encode(), Path("/home/server.json"))
    except InputError as error:
        assert "/home/server.json is not readable" in str(error)
        assert "Remove the file" in str(error)
    else:
        assert (isinstance(value, str) and field == "home") or field == "started"


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 5000])
def test_text_that_is_no_record_is_the_same_error(text: str, tmp_path: Path):
    record(tmp_path, text)
    with pytest.raises(InputError, match=r"server\.json is not readable.*Remove the file"):
        running_server(tmp_path)


def test_a_folder_in_the_records_place_is_named(tmp_path: Path):
    (tmp_path / "prefect_server/server.json").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"server\.json, where povstorm keeps"):
        running_server(tmp_path)


def test_flows_use_it_if_it_answers(
    kept: KeptServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kept_server, "answers", lambda url: url == kept.api)
    assert server_for_flows(tmp_path) == kept.api
    monkeypatch.setattr(kept_server, "answers", lambda url: False)
    assert server_for_flows(tmp_path) is None


def test_a_server_that_is_chosen_takes_precedence(
    kept: KeptServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kept_server, "answers", lambda url: True)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert server_for_flows(tmp_path) is None


def test_one_with_another_history_is_not_used(
    kept: KeptServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kept_server, "answers", lambda url: True)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "another"))
    assert server_for_flows(tmp_path) is None


def test_a_port_that_is_taken_is_named_and_nothing_is_left_behind(tmp_path: Path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be had"):
            start_server(tmp_path, port)
    assert running_server(tmp_path) is None


def test_a_server_that_ends_at_its_start_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from povstorm_client import ToolError

    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'ValueError: no such database' >&2\nexit 3\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))

    with pytest.raises(ToolError, match="ended at its start: ValueError: no such database"):
        start_server(tmp_path)
    assert not (tmp_path / "prefect_server/server.json").exists()


def test_what_is_kept_of_it_is_its_users_alone(tmp_path: Path, kept: KeptServer):
    kept_server._write(tmp_path / "prefect_server", kept)
    path = tmp_path / "prefect_server/server.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert running_server(tmp_path) == kept
