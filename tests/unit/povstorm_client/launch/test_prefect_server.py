"""An unreachable Prefect server is one clear line before any work starts."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from povstorm_client import Cluster, InputError, Job, RenderSettings, ToolError, WorkUnit
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.launch import prefect_server
from povstorm_client.launch.prefect_server import chosen_server, require_server, server_version


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "prefect").mkdir()
    return work


@contextmanager
def answering(code: int, body: bytes) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/api"


def test_prefect_s_order_of_settings_chooses_the_server(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert chosen_server() is None
    profiles = tmp_path / "prefect/profiles.toml"
    profiles.write_text(
        'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "http://profile/api"\n'
        '[profiles.other]\nPREFECT_API_URL = "http://other/api"\n[profiles.ephemeral]\n'
    )
    assert chosen_server().url == "http://profile/api"
    assert "'mine'" in chosen_server().chosen_by
    monkeypatch.setenv("PREFECT_PROFILE", "other")
    assert chosen_server().url == "http://other/api"
    monkeypatch.setenv("PREFECT_PROFILE", "ephemeral")
    assert chosen_server() is None
    (folder / "pyproject.toml").write_text('[tool.prefect.api]\nurl = "http://pyproject/api"\n')
    assert chosen_server().url == "http://pyproject/api"
    (folder / "prefect.toml").write_text('[api]\nurl = "http://toml/api"\n')
    assert chosen_server().url == "http://toml/api"
    (folder / ".env").write_text("A=1\nexport PREFECT_API_URL='http://dotenv/api'\n")
    assert chosen_server().url == "http://dotenv/api"
    monkeypatch.setenv("PREFECT_API_URL", "http://variable/api")
    assert chosen_server().url == "http://variable/api"


@pytest.mark.parametrize("content", ["active = 3\nprofiles = 4\n", "[profiles]\nx = 1\n", ""])
def test_strange_profiles_choose_none(tmp_path: Path, content: str):
    (tmp_path / "prefect/profiles.toml").write_text(content)
    assert chosen_server() is None


def test_settings_that_are_no_toml_are_named(tmp_path: Path):
    (tmp_path / "prefect/profiles.toml").write_text("active = \n")
    with pytest.raises(InputError, match=r"profiles\.toml.* is no TOML"):
        chosen_server()


@pytest.mark.parametrize(
    ("code", "body"), [(200, b"true"), (401, b""), (403, b"{}"), (500, b""), (429, b"")]
)
def test_a_server_that_answers_is_left_to_prefect(
    code: int, body: bytes, monkeypatch: pytest.MonkeyPatch
):
    with answering(code, body) as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        assert require_server().url == url
        assert server_version(require_server()) is None


@pytest.mark.parametrize(("code", "body"), [(404, b""), (200, b"<html>"), (200, b"{}"), (200, b"")])
def test_what_is_no_prefect_api_is_told_with_the_address_it_should_have(
    code: int, body: bytes, monkeypatch: pytest.MonkeyPatch
):
    with answering(code, body) as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        with pytest.raises(ToolError, match="is no Prefect API: its address ends in /api"):
            require_server()


@pytest.mark.parametrize("url", ["foo", "localhost:4200/api", "file:///etc/passwd", "http:///api"])
def test_what_is_no_address_is_told(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(ToolError, match="is no address of a Prefect server"):
        require_server()


def test_a_server_that_is_not_there_stops_a_job_before_it_is_stored(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    url = closed_port()
    monkeypatch.setenv("PREFECT_API_URL", url)
    job = Job(cluster, "j", video=None)
    unit = WorkUnit(RenderSettings("a.pov"))
    unit.add_inline_resource("a.pov", "")
    job.add_work_unit(unit)
    words = (
        rf"{url}, chosen by the variable PREFECT_API_URL, does not answer .*prefect server start"
    )
    with pytest.raises(ToolError, match=words):
        job.run()
    assert not (tmp_path / "storage").exists()
    for broken in ("http://no-such-host.invalid/api", "http://127.0.0.1:99999/api", "http://[/api"):
        monkeypatch.setenv("PREFECT_API_URL", broken)
        with pytest.raises(ToolError, match="does not answer"):
            require_server()


def test_a_server_that_has_too_much_to_do_to_answer_is_a_warning_where_no_deployment_needs_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(prefect_server, "_SOON_SECONDS", 0.05)
    monkeypatch.setattr(prefect_server, "_ANSWER_SECONDS", 0.05)
    # It takes connections, and nobody reads what they say.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        monkeypatch.setenv("PREFECT_API_URL", url)
        cluster.require_prefect_server()
        assert capsys.readouterr().err == (
            f"povstorm: warning: the Prefect server at {url}, chosen by the variable "
            "PREFECT_API_URL, is there and does not answer yet: it is told of the run when it "
            "does\n"
        )
        with pytest.raises(ToolError, match="does not answer"):
            cluster.with_deployment("render-job/local").require_prefect_server()


def test_a_deployment_needs_a_server(cluster: Cluster):
    with pytest.raises(InputError, match="set PREFECT_API_URL"):
        cluster.with_deployment("render-job/local").require_tools(JobSettings(video=None))
