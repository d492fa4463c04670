"""A job's page is the one of its latest run on the server; what does not know it says so."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from povstorm_client import InputError, ToolError
from povstorm_client.jobs.state import JobState
from povstorm_client.launch.prefect_server import PrefectServer
from povstorm_client.launch.run_page import RUN_LABEL, pages_of, run_page

RUN = "f0324df2-b948-4ad9-8aac-512738e7c573"
ACCOUNT, WORKSPACE = "0a" * 4, "0b" * 4


@pytest.fixture(autouse=True)
def nothing_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    for name in ("PREFECT_UI_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)


class Asked:
    """What a server was asked, and what it answers."""

    answer: bytes = b"[]"
    body: object = None
    key: str | None = None


@pytest.fixture
def asked() -> Iterator[tuple[Asked, PrefectServer]]:
    asked = Asked()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.key = self.headers["Authorization"]
            self.send_response(200 if self.path == "/api/flow_runs/filter" else 404)
            self.send_header("Content-Length", str(len(asked.answer)))
            self.end_headers()
            self.wfile.write(asked.answer)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        yield asked, PrefectServer(url, "a test")
        server.shutdown()


def test_the_page_is_that_of_the_newest_run_of_the_jobs_name(asked: tuple[Asked, PrefectServer]):
    seen, server = asked
    seen.answer = json.dumps([{"id": RUN, "name": "a-1"}]).encode()

    assert run_page(server, "a-1", None) == f"{pages_of(server)}/runs/flow-run/{RUN}"
    assert seen.body == {
        "flow_runs": {"name": {"any_": ["a-1"]}},
        "sort": "EXPECTED_START_TIME_DESC",
        "limit": 1,
    }
    assert seen.key is None


def test_the_page_of_an_earlier_run_is_not_that_of_the_latest(asked: tuple[Asked, PrefectServer]):
    seen, server = asked
    page = f"{pages_of(server)}/runs/flow-run/{RUN}"
    rendering, told = JobState("rendering", 2, run="second"), JobState("completed", 2, run="second")
    telling = JobState("completed", 2, run="second", recording=True)

    seen.answer = json.dumps([{"id": RUN, "labels": {RUN_LABEL: "first"}}]).encode()
    for state in (rendering, telling, told):
        with pytest.raises(InputError, match=f"knows only an earlier run of job a-1, {page}"):
            run_page(server, "a-1", state)

    seen.answer = json.dumps([{"id": RUN, "labels": {RUN_LABEL: "second"}}]).encode()
    assert [run_page(server, "a-1", state) for state in (rendering, telling, told)] == [page] * 3


def test_a_deployments_run_has_no_label_and_one_that_is_recorded_has(
    asked: tuple[Asked, PrefectServer],
):
    seen, server = asked
    seen.answer = json.dumps([{"id": RUN, "labels": {}}]).encode()

    assert RUN in run_page(server, "a-1", JobState("completed", 2, run="second"))
    with pytest.raises(InputError, match="knows only an earlier run"):
        run_page(server, "a-1", JobState("completed", 2, run="second", recording=True))


def test_a_server_that_wants_a_key_is_given_the_chosen_one(
    asked: tuple[Asked, PrefectServer], tmp_path: Path
):
    seen, server = asked
    seen.answer = json.dumps([{"id": RUN}]).encode()
    (tmp_path / "profiles.toml").write_text(
        'active = "mine"\n[profiles.mine]\nPREFECT_API_KEY = "abc"\n'
    )

    run_page(server, "a-1", None)

    assert seen.key == "Bearer abc"


def test_a_job_without_a_run_there_is_named(asked: tuple[Asked, PrefectServer]):
    with pytest.raises(InputError, match="knows no run of job a-1: it ran on another server"):
        run_page(asked[1], "a-1", None)


@pytest.mark.parametrize("answer", [b'{"detail": "no"}', b'[{"id": "../../x"}]', b"[3]", b'"x"'])
def test_an_answer_that_is_none_of_prefects_leads_nowhere(
    answer: bytes, asked: tuple[Asked, PrefectServer]
):
    seen, server = asked
    seen.answer = answer
    with pytest.raises(ToolError, match="is no Prefect server"):
        run_page(server, "a-1", None)


def test_a_server_that_does_not_answer_is_named(asked: tuple[Asked, PrefectServer]):
    server = PrefectServer(f"{asked[1].url}/other", "a test")
    with pytest.raises(ToolError, match=r"/other, chosen by a test, does not answer"):
        run_page(server, "a-1", None)


def test_prefect_cloud_has_its_pages_elsewhere_and_so_may_a_server(monkeypatch: pytest.MonkeyPatch):
    url = f"https://api.prefect.cloud/api/accounts/{ACCOUNT}/workspaces/{WORKSPACE}"
    pages = f"https://app.prefect.cloud/account/{ACCOUNT}/workspace/{WORKSPACE}"
    assert pages_of(PrefectServer(url, "a test")) == pages
    assert (
        pages_of(PrefectServer("http://127.0.0.1:4200/api/", "a test")) == "http://127.0.0.1:4200"
    )
    monkeypatch.setenv("PREFECT_UI_URL", "https://prefect.example/")
    assert pages_of(PrefectServer(url, "a test")) == "https://prefect.example"
